"""Methods compared: the same prompts, the same seeds, one report.

    curves    a run folder's figures; the seeds of a method joined, step by step
    figures   numbers of one run: what a row of the table is made of
    results   those over the seeds of a method, and differences to the first method, seed by seed
    table     results as a rich table, as markdown and as JSON
    plots     curves as one figure of six panels
    page      all of it in one HTML file that needs no network
    report    the four files of a comparison's folder

What did not finish is told by name and is in no mean. A spread needs two seeds, or none is given.
"""

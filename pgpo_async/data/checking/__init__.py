"""Looking at every row of a prompt source: what it is, whether it can be used, what is there twice.

`row_facts` looks at a row, `scan` at all of them in several processes, `findings` adds up. The command and
the page are `report.data_set`'s.
"""

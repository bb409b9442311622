"""The look of a token page. Colours of tokens are `colours`', those of everything else `html_parts`'.

Called by `page`.
"""

from pgpo_async.report.tokens.colours import RAMPS, colours, ink_on

_LAYOUT = """
main { max-width: 1900px; }
[hidden] { display: none !important; }
.facts b { color: var(--ink); font-weight: 600; }
.note { background: var(--warn-tint); color: var(--warn); border-radius: 6px; padding: .4rem .7rem;
  overflow-wrap: anywhere; }
button, select { font: inherit; color: var(--ink); background: var(--surface);
  border: 1px solid var(--faint); border-radius: 6px; padding: .25rem .6rem; }
button { cursor: pointer; }
button:hover { border-color: var(--accent); }
button[aria-pressed="true"] { background: var(--accent); border-color: var(--accent); color: var(--surface); }
button[aria-disabled="true"] { color: var(--muted); cursor: not-allowed; background: none;
  border-style: dashed; }
button[aria-disabled="true"]:hover { border-color: var(--faint); }
kbd { font: .75em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  border: 1px solid currentColor; border-radius: 3px; padding: 0 .3em; opacity: .75; display: inline-block; }
.bar { position: sticky; top: 0; z-index: 2; background: var(--paper); padding: .6rem 0; margin-top: .75rem;
  border-bottom: 1px solid var(--faint); display: flex; flex-wrap: wrap; gap: .5rem 1.25rem;
  align-items: center; }
.pick { display: flex; gap: .35rem; min-width: 0; flex: 0 1 auto; }
.pick select { min-width: 0; max-width: 30rem; flex: 1 1 auto; text-overflow: ellipsis; }
.quantities { display: flex; flex-wrap: wrap; gap: .35rem; }
.legend { flex: 1 1 24rem; min-width: 0; display: flex; flex-wrap: wrap; gap: .1rem 1rem;
  align-items: center; }
.legend p { margin: 0; font-size: .85rem; color: var(--muted); flex: 1 1 16rem; }
#scale { flex: 0 1 22rem; min-width: 14rem; }
.swatches { display: flex; border-radius: 4px; overflow: hidden; height: .8rem; }
.swatches i { flex: 1; }
.ticks { position: relative; height: 1.1rem; font-size: .75rem; color: var(--muted);
  font-variant-numeric: tabular-nums; }
.ticks span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.ticks span.first { transform: none; }
.ticks span.last { transform: translateX(-100%); }
.view { display: grid; grid-template-columns: minmax(15rem, 20rem) minmax(0, 1fr); gap: 1rem;
  margin-top: 1rem; align-items: start; }
aside { display: grid; gap: 1rem; min-width: 0; position: sticky; top: calc(var(--bar, 5rem) + 1rem);
  max-height: calc(100vh - var(--bar, 5rem) - 2rem); overflow-y: auto; }
aside h2 { margin: 0 0 .4rem; font-size: 1rem; }
aside p { overflow-wrap: anywhere; }
#images { display: grid; gap: .5rem; }
#images img { width: 100%; max-height: 16rem; object-fit: contain; border-radius: 6px;
  border: 1px solid var(--faint); background: var(--sunken); display: block; }
#prompt .text { white-space: pre-wrap; overflow-wrap: anywhere; margin: .1rem 0 .6rem; max-height: 16rem;
  overflow-y: auto; }
#prompt .name { font-size: .8rem; color: var(--muted); margin: .6rem 0 0; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .2rem .6rem; margin: 0; }
dt { color: var(--muted); }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
#top { list-style: none; margin: .4rem 0 0; padding: 0; display: grid; gap: .2rem; }
#top li { display: grid; grid-template-columns: minmax(0, 1fr) auto auto; gap: .6rem; align-items: baseline;
  font-variant-numeric: tabular-nums; }
#top button { justify-self: start; max-width: 100%; overflow: hidden; text-overflow: ellipsis;
  white-space: pre; border-color: transparent; padding: .05rem .4rem; }
#top .times { color: var(--muted); font-size: .85rem; min-width: 2.6rem; text-align: right; }
#responses { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--column, 24rem)), 1fr)); }
#responses.stacked { grid-template-columns: minmax(0, 1fr); }
.response { padding: .7rem .8rem; min-width: 0; }
.response header { display: flex; flex-wrap: wrap; gap: .2rem .7rem; align-items: baseline;
  margin-bottom: .5rem; font-size: .85rem; font-variant-numeric: tabular-nums; }
.response h3 { margin: 0; }
.chip { border-radius: 999px; padding: 0 .6rem; font-weight: 600; }
.right { background: var(--good-tint); color: var(--good); }
.wrong { background: var(--bad-tint); color: var(--bad); }
.cut { background: var(--warn-tint); color: var(--warn); }
.tokens, #top button, #readout b { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono",
  monospace; font-size: .87rem; }
.tokens { line-height: 1.75; white-space: pre-wrap; overflow-wrap: anywhere; padding: 3px;
  content-visibility: auto; contain-intrinsic-size: auto var(--height, 6rem); }
.tokens span { border-radius: 3px; padding: 1px 0; margin-right: 1px; unicode-bidi: isolate;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.tokens span:hover, .tokens span:focus { outline: 2px solid var(--ink); outline-offset: 1px; z-index: 1; }
.special { font-style: italic; font-size: .9em; border-bottom: 2px dotted currentColor; }
.unknown { background: none; color: var(--muted); text-decoration: underline dotted; }
.capped { box-shadow: inset 0 -3px 0 currentColor; }
#readout { position: fixed; z-index: 3; pointer-events: none; background: var(--surface); color: var(--ink);
  border: 1px solid var(--muted); border-radius: 8px; padding: .5rem .7rem; max-width: min(22rem, 94vw);
  box-shadow: 0 4px 16px rgb(0 0 0 / .25); font-size: .85rem; }
#readout b { display: block; white-space: pre-wrap; overflow-wrap: anywhere; margin-bottom: .2rem; }
#readout .on { font-weight: 700; color: var(--ink); }
@media (max-width: 800px) {
  main { padding: 1rem .75rem 3rem; }
  .bar { position: static; }
  .view { display: flex; flex-direction: column; align-items: stretch; }
  aside { display: contents; }
  .later { order: 1; }
  .legend { flex-basis: 100%; }
  .pick { flex: 1 1 100%; }
  #images { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
  #images img { max-width: 14rem; }
}
@media print {
  .bar, aside { position: static; }
  aside { max-height: none; }
  .pick, #stack, .keys { display: none; }
  .tokens { content-visibility: visible; }
  .tokens span, .swatches i, #top button { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def _rules(*, dark: bool) -> str:
    """One rule for each colour, which names no other element: that is what makes switching fast."""
    return "\n".join(
        f".{key}-{number} {{ background: {colour}; color: {ink_on(colour)}; }}"
        for key, ramp in RAMPS.items()
        for number, colour in enumerate(colours(ramp, dark=dark))
    )


STYLE = f"""{_LAYOUT}
{_rules(dark=False)}
@media screen and (prefers-color-scheme: dark) {{
{_rules(dark=True)}
}}
"""

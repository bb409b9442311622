"""The look of the report, on top of the base that all pages share (`html_parts`). Used by `report_page`."""

from pgpo_async.report.heat_maps import SHADES
from pgpo_async.report.html_parts import NUM_SERIES

_LAYOUT = """
nav { position: sticky; top: 0; z-index: 2; background: var(--paper); border-bottom: 1px solid var(--faint); }
nav ul { max-width: 1500px; margin: 0 auto; padding: .5rem 1.25rem; display: flex; flex-wrap: wrap;
  gap: .2rem 1.2rem; list-style: none; font-size: .9rem; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
section { scroll-margin-top: 3.2rem; }
.head { display: flex; flex-wrap: wrap; gap: .4rem .9rem; align-items: center; }
.badge { border-radius: 99px; padding: .1rem .75rem; font-size: .9rem; font-weight: 600; white-space: nowrap;
  background: var(--sunken); }
.badge.good { background: var(--good-tint); color: var(--good); }
.badge.warn { background: var(--warn-tint); color: var(--warn); }
.badge.bad { background: var(--bad-tint); color: var(--bad); }
.problems { list-style: none; margin: 1rem 0 0; padding: 0; overflow: hidden;
  border: 1px solid var(--faint); border-radius: 8px; }
.problems li { padding: .45rem 1rem; background: var(--warn-tint); display: flex; gap: .6rem; }
.problems li + li { border-top: 1px solid var(--paper); }
.problems li.grave { background: var(--bad-tint); }
.problems li::before { content: "!"; font-weight: 700; color: var(--warn); width: 1.2em; text-align: center;
  flex: none; }
.problems li.grave::before { content: "✗"; color: var(--bad); }
.problems li span { overflow-wrap: anywhere; }
.sound { margin: 1rem 0 0; padding: .45rem 1rem; border-radius: 8px; background: var(--good-tint);
  color: var(--good); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(172px, 46%), 1fr)); gap: .7rem;
  margin: 1rem 0 0; padding: 0; }
.tiles div { display: flex; flex-direction: column; padding: .6rem .9rem; }
.tiles dt { color: var(--muted); font-size: .85rem; }
.tiles dd { margin: 0; }
.tiles .figure { font-size: 1.3rem; font-weight: 600; line-height: 1.35; font-variant-numeric: tabular-nums; }
.tiles .detail { color: var(--muted); font-size: .82rem; min-height: 1.2em; }
.tiles .bad .figure { color: var(--bad); }
.tiles .bad .figure::after { content: " !"; }
.tiles div:first-child { grid-column: span 2; }
.panels { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(360px, 100%), 1fr)); }
h3.question { margin: 1.5rem 0 .6rem; color: var(--muted); font-weight: 600; }
.sum { font-variant-numeric: tabular-nums; }
.sum.good { color: var(--good); }
.sum.bad { color: var(--bad); font-weight: 600; }
td, tbody th { overflow-wrap: anywhere; }
.events td:nth-child(2) { white-space: nowrap; }
.sign { width: 14px; height: 14px; margin-right: .35rem; vertical-align: -2px; }
"""

_CHARTS = """
figure { margin: 0 0 .8rem; }
.panels figure { margin: 0; display: flex; flex-direction: column; }
.panels .chart { margin-top: auto; }
figure h3 { margin: 0; }
.chart { display: block; width: 100%; height: auto; overflow: visible; touch-action: pan-y; }
.chart.broad { min-width: 820px; }
.store { position: absolute; }
.remark { color: var(--muted); font-size: .82rem; margin-top: .3rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0 .9rem; list-style: none; margin: .15rem 0 .3rem; padding: 0;
  font-size: .85rem; align-items: center; }
.legend .value { font-variant-numeric: tabular-nums; font-weight: 600; }
.at { float: right; color: var(--muted); font-weight: normal; font-size: .85rem; padding-left: .6rem;
  font-variant-numeric: tabular-nums; }
.key { display: inline-block; width: 16px; height: 3px; border-radius: 2px; vertical-align: 3px;
  margin-right: .35rem; background: var(--tone, var(--muted)); }
.key.area { height: 11px; width: 11px; vertical-align: -1px; }
.tick { fill: var(--muted); font-size: 11.5px; }
.grid { stroke: var(--faint); stroke-width: 1; }
.axis { stroke: var(--muted); stroke-width: 1; }
.curve { fill: none; stroke: var(--tone); stroke-width: 1.8; stroke-linejoin: round; }
.band { fill: var(--tone); fill-opacity: .2; stroke: var(--tone); stroke-opacity: .45; stroke-width: .7; }
.dot { fill: var(--tone); }
.spot { fill: var(--surface); stroke: var(--ink); stroke-width: 1.5; }
.limit { stroke: var(--bad); stroke-width: 1.2; stroke-dasharray: 5 4; }
.limit-name { fill: var(--bad); font-size: 11px; paint-order: stroke; stroke: var(--surface);
  stroke-width: 3px; }
.bar { fill: var(--series-1); }
.bar.bad { fill: var(--bad); }
.value { fill: var(--ink); font-size: 11.5px; }
.track { fill: var(--sunken); fill-opacity: .75; }
.area { fill: var(--tone, var(--muted)); }
.span { fill: var(--tone, var(--muted)); }
.row-name { fill: var(--ink); font-size: 12.5px; }
.row-value { fill: var(--muted); font-size: 12px; }
.bar-name { fill: var(--surface); font-size: 11px; font-weight: 600; pointer-events: none; }
.shade { display: inline-block; width: 10px; height: 10px; background: rgba(var(--heat), var(--part)); }
.heat { fill: rgba(var(--heat), var(--part)); }
.legend .scale { color: var(--muted); }
.mark path { fill: none; stroke: var(--mark); stroke-width: 1.7; }
.mark-line { stroke: var(--mark); stroke-width: 1; stroke-dasharray: 2 3; opacity: .7; }
.mark { --mark: var(--ink); }
.mark.death { --mark: var(--bad); }
.mark.warning, .mark.skipped { --mark: var(--warn); }
.mark.restart, .mark.resume { --mark: var(--good); }
.cross { pointer-events: none; }
.cross line { stroke: var(--ink); stroke-width: 1; opacity: .55; }
.cross circle { fill: var(--tone); stroke: var(--surface); stroke-width: 1.2; }
"""

_SAMPLES = """
.samples { display: grid; gap: .8rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(560px, 100%), 1fr)); }
.sample header { margin-bottom: .6rem; overflow-wrap: anywhere; }
.rank { border-radius: 4px; padding: .05rem .5rem; font-size: .85rem; font-weight: 600;
  background: var(--good-tint); color: var(--good); }
.rank.worst { background: var(--bad-tint); color: var(--bad); }
.prompt { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; }
.images { display: flex; flex-wrap: wrap; gap: .5rem; align-items: flex-start; max-width: 100%; }
.images img { max-width: min(320px, 100%); max-height: 240px; min-width: 96px; border: 1px solid var(--faint);
  border-radius: 4px; }
.prompt dl { margin: 0; flex: 1 1 300px; }
dt { color: var(--muted); font-size: .85rem; }
.prompt dd { margin: 0 0 .4rem; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.responses { list-style: none; margin: .5rem 0 0; padding: 0;
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: .5rem; }
.responses li { background: var(--sunken); border-radius: 6px; padding: .45rem .75rem;
  border-left: 4px solid var(--faint); min-width: 0; }
.responses .right { border-left-color: var(--good); }
.responses .wrong { border-left-color: var(--bad); border-left-style: double; }
.facts { margin: 0 0 .2rem; color: var(--muted); font-size: .85rem; }
.verdict { font-weight: 600; color: var(--ink); }
.times { font-weight: 600; }
.right .verdict { color: var(--good); }
.wrong .verdict { color: var(--bad); }
@media print {
  nav { display: none; }
  .panels { grid-template-columns: repeat(2, 1fr); }
  .samples { grid-template-columns: repeat(2, 1fr); }
  .chart.broad { min-width: 0; }
  .wide { overflow: visible; }
  h2 { break-after: avoid; }
}
"""


def page_style() -> str:
    """Return the style sheet."""
    series = "".join(
        f".s{number} {{ --tone: var(--series-{number}); }}\n" for number in range(1, NUM_SERIES + 1)
    )
    shades = "".join(f".h{level} {{ --part: {level / SHADES:.3f}; }}\n" for level in range(1, SHADES + 1))
    return _LAYOUT + _CHARTS + _SAMPLES + series + shades

"""How the report looks: one style for light, dark, wide, narrow and paper."""

STYLE = """
:root { color-scheme: light dark;
  --page: light-dark(#f6f5f2, #14161a); --card: light-dark(#ffffff, #1b1e24); --ink: light-dark(#16181d, #eceef2);
  --quiet: light-dark(#5b6069, #a3a9b4); --line: light-dark(#e2dfd9, #31353e); --faint: light-dark(#f1efeb, #242830);
  --good: light-dark(#00603f, #5fd0a5); --bad: light-dark(#a33c00, #ff9c66); --link: light-dark(#005a94, #6dbdf0);
  --bar: light-dark(#3d4654, #b9c0cc) }
:root[data-theme=light] { color-scheme: light }
:root[data-theme=dark] { color-scheme: dark }
* { box-sizing: border-box }
html { scroll-padding-top: 4.2rem }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif }
main, .top, .choices > div { max-width: 1240px; margin: 0 auto; padding-inline: clamp(.8rem, 2.5vw, 2rem) }
.top { padding-top: clamp(1.4rem, 4vw, 3rem); padding-bottom: 1.2rem; position: relative }
h1 { font-size: clamp(1.6rem, 4.4vw, 2.4rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 3rem .5rem 0;
  text-wrap: balance }
h2 { font-size: 1.35rem; letter-spacing: -.01em; line-height: 1.25; margin: 0 }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere }
p { margin: .35rem 0 0; max-width: 78ch }
a { color: var(--link); text-underline-offset: .15em; text-decoration-thickness: 1px }
.quiet { color: var(--quiet); font-size: .9rem }
.facts { display: flex; flex-wrap: wrap; gap: .9rem 2.4rem; margin: 1.5rem 0 0; padding: 0 }
.facts div { display: flex; flex-direction: column-reverse }
.facts dd { margin: 0; font-size: 1.55rem; line-height: 1.15; font-weight: 600; font-variant-numeric: tabular-nums }
.facts dt { color: var(--quiet); font-size: .82rem }
.theme { position: absolute; top: clamp(1.4rem, 4vw, 3rem); right: clamp(.8rem, 2.5vw, 2rem) }
button, select { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: .3rem .6rem; min-height: 2.2rem; max-width: 100% }
button { cursor: pointer }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
.choices { position: sticky; top: 0; z-index: 4; border-block: 1px solid var(--line);
  background: color-mix(in srgb, var(--page) 92%, transparent); backdrop-filter: blur(8px) }
.choices > div { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; align-items: center; padding-block: .55rem }
.choices label { display: flex; align-items: center; gap: .45rem; font-size: .88rem; color: var(--quiet); min-width: 0 }
.choices select { color: var(--ink); min-width: 0; max-width: 12rem; text-overflow: ellipsis }
.choices nav { margin-left: auto; display: flex; flex-wrap: wrap; gap: .2rem .85rem; font-size: .84rem }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; margin-top: 1.4rem;
  padding: clamp(.9rem, 2.2vw, 1.6rem) }
main { padding-bottom: 4rem }
.box { overflow: auto; max-height: min(78vh, 60rem); margin: 1rem -.4rem 0; padding: 0 .4rem;
  overscroll-behavior-x: contain }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .5rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top }
tbody tr:hover > * { background: var(--faint) }
tbody tr:target > * { background: light-dark(#fdf3d6, #3a3422) }
thead th { position: sticky; top: 0; background: var(--card); z-index: 2; padding: 0; white-space: nowrap;
  border-bottom: 2px solid var(--ink); vertical-align: bottom }
thead button { all: unset; box-sizing: border-box; cursor: pointer; display: block; width: 100%; padding: .45rem .7rem;
  font-size: .82rem; font-weight: 600; color: var(--quiet) }
thead button:hover, th[aria-sort] button { color: var(--ink) }
thead button:focus-visible { outline: 2px solid var(--link); outline-offset: -2px }
thead button::after { content: "\\2195"; opacity: .35; margin-left: .35em; font-weight: 400 }
th[aria-sort=ascending] button::after { content: "\\2191"; opacity: 1 }
th[aria-sort=descending] button::after { content: "\\2193"; opacity: 1 }
tbody th { font-weight: 600; min-width: 15rem }
td.chips { min-width: min(24rem, 60vw) }
tbody th a { color: inherit; text-decoration-color: var(--line) }
tbody th small, td small { display: block; font-weight: 400; color: var(--quiet); font-size: .8rem }
.n, thead .n button { text-align: right }
.n, .word { white-space: nowrap }
td.value { font-weight: 600; font-size: 1rem }
td.data { overflow-wrap: anywhere; min-width: 9rem; color: var(--quiet) }
.one-board td.data, .one-board th.data { display: none }
tbody th .where { display: none }
.few { color: var(--bad) }
.verdict { white-space: nowrap; font-weight: 600 }
.verdict small { font-variant-numeric: tabular-nums }
.beats { color: var(--good) } .loses { color: var(--bad) }
.equal { color: var(--ink); font-weight: 400 } .unasked { color: var(--quiet); font-weight: 400 }
.interval { min-width: 11rem }
.forest { display: block; position: relative; height: .8rem; min-width: 7rem; margin-top: .3rem;
  background: linear-gradient(var(--line), var(--line)) center / 100% 1px no-repeat }
.forest i { position: absolute; top: calc(50% - 1.5px); height: 3px; border-radius: 2px; left: var(--l);
  width: var(--w); background: var(--bar); opacity: .5 }
.forest b { position: absolute; top: calc(50% - 4px); left: calc(var(--m) - 4px); width: 8px; height: 8px;
  border-radius: 50%; background: var(--bar) }
.plain .forest i, .plain .forest b { background: var(--quiet) }
.plain .forest b { background: var(--card); box-shadow: inset 0 0 0 2px var(--quiet) }
.charts { display: grid; gap: 1.6rem 2.2rem; margin-top: 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)) }
figure { margin: 0; min-width: 0; container-type: inline-size }
figcaption { margin-bottom: .5rem }
figure > svg { display: block; width: 100%; height: auto; max-width: 46rem }
svg text { fill: var(--quiet); font-size: 14px; font-variant-numeric: tabular-nums }
svg .name { font-size: 13.5px }
@container (min-width: 40rem) { svg text { font-size: 12px } svg .name { font-size: 12px } }
@container (max-width: 27rem) { svg text { font-size: 20px } svg .name { font-size: 19px } }
.grid { stroke: var(--line); stroke-width: 1 } .axis { stroke: var(--quiet); stroke-width: 1; fill: none }
.series, .legend li, .dot { color: light-dark(var(--c), var(--d)) }
.band { fill: currentColor; opacity: .11 } .stem { stroke: currentColor; opacity: .45; stroke-width: 1 }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round }
.dotted { stroke-dasharray: 1.5 4; stroke-linecap: round }
.mark { fill: currentColor; stroke: var(--card); stroke-width: 1.2 }
.series { transition: opacity .15s } .dim { opacity: .1 }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: .4rem 0 0; padding: 0;
  font-size: .85rem }
.legend li { display: flex; align-items: center; gap: .4rem; min-width: 0; cursor: default }
.legend span { color: var(--ink); overflow-wrap: anywhere }
.swatch { width: 22px; height: 14px; flex: none }
code { background: var(--faint); border-radius: 5px; padding: .08em .4em; font-size: .8rem; overflow-wrap: anywhere;
  display: inline-block; margin: 0 .25rem .25rem 0; max-width: 100% }
details { margin-top: .3rem } summary { cursor: pointer; color: var(--link); font-size: .85rem }
pre { font-size: .78rem; line-height: 1.45; background: var(--faint); border-radius: 8px; padding: .7rem .9rem;
  overflow: auto; max-height: 24rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0 0 }
ul.notes { margin: .5rem 0 0; padding-left: 1.1rem; font-size: .88rem; color: var(--quiet) }
ul.notes li { margin-top: .15rem; max-width: 100ch; overflow-wrap: anywhere }
.board { margin-top: 1.4rem; border-top: 1px solid var(--line); padding-top: 1rem }
.trouble { margin-top: 1rem } .trouble h3 { font-size: .95rem }
.empty { color: var(--quiet); font-style: italic }
[hidden] { display: none !important }
footer { color: var(--quiet); font-size: .85rem; margin-top: 2rem }
@media (max-width: 640px) {
  th, td { padding: .45rem .5rem } .choices nav { display: none } .choices label { flex: 1 1 8rem }
  .choices select { flex: 1; width: 100% } .choices label span { display: none }
  .choices > div { flex-wrap: nowrap; gap: .5rem } tbody th { min-width: 8.5rem }
  td.data, th.data, .about { display: none !important } html:not(.one-board) tbody th .where { display: block }
  html { scroll-padding-top: 3.6rem } }
@media print {
  :root { color-scheme: light; --page: #fff } body { font-size: 10pt } .choices, .theme { display: none }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: .6rem 0; break-inside: auto }
  .box { overflow: visible; max-height: none } thead th { position: static } tr, figure { break-inside: avoid }
  thead button::after { content: none } a { color: inherit; text-decoration: none } }
@media (prefers-reduced-motion: reduce) { * { transition: none !important } }
"""

SCRIPT = """
'use strict';
const root = document.documentElement, $ = id => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const choices = { board: $('board'), budget: $('budget'), metric: $('metric') };
function choose() {
  const { board, budget, metric } = choices, changed = root.dataset.metric !== metric.value;
  root.dataset.metric = metric.value;
  root.classList.toggle('one-board', board.value !== '' || board.options.length === 2);
  const hides = (choice, own) => choice !== '' && own !== undefined && own !== choice;
  for (const each of all('[data-board], [data-budget]'))
    each.hidden = hides(board.value, each.dataset.board) || hides(budget.value, each.dataset.budget);
  if (changed) for (const table of all('#leaderboard table')) {
    const head = table.querySelector('th[aria-sort]');
    if (head) arrange(head); else rank(table.tBodies[0]);
  }
}
function rank(body) {
  const key = row => [Number(row.dataset.board), shown(row.cells[2]), -shown(row.cells[3])];
  const rows = [...body.rows].map(row => [key(row), row]);
  rows.sort(([a], [b]) => a[0] - b[0] || (a[1] > b[1]) - (a[1] < b[1]) || a[2] - b[2]);
  body.append(...rows.map(([, row]) => row));
}
function shown(cell) {
  const value = cell.querySelector('.m-' + root.dataset.metric) || cell;
  const key = value.dataset.v ?? cell.dataset.v ?? value.textContent.trim();
  return key === '' || isNaN(key) ? key : Number(key);
}
function sort(head) {
  const first = head.classList.contains('n') ? 'descending' : 'ascending', now = head.getAttribute('aria-sort');
  const next = now === null ? first : now === 'ascending' ? 'descending' : 'ascending';
  for (const each of head.parentNode.children) each.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', next);
  arrange(head);
}
function arrange(head) {
  const column = [...head.parentNode.children].indexOf(head), body = head.closest('table').tBodies[0];
  const sign = head.getAttribute('aria-sort') === 'descending' ? -1 : 1;
  const rows = [...body.rows].map(row => [shown(row.cells[column]), row]);
  rows.sort(([a], [b]) => {
    if (a === '' || b === '') return (a === '') - (b === '');
    return sign * (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)));
  });
  body.append(...rows.map(([, row]) => row));
}
function point(event) {
  const item = event.target.closest('[data-series]'), figure = event.target.closest('figure');
  if (!figure) return;
  const chosen = item && event.type === 'mouseover' ? item.dataset.series : null;
  for (const each of all('.series', figure))
    each.classList.toggle('dim', chosen !== null && each.dataset.series !== chosen);
}
function whole(event) {
  const details = event.target;
  if (!details.open || !details.dataset.shared) return;
  const pre = details.querySelector('pre');
  const lines = [pre.textContent, $(details.dataset.shared).textContent].join('\\n');
  pre.textContent = lines.split('\\n').filter(line => line).sort().join('\\n');
  delete details.dataset.shared;
}
function paint(theme) {
  root.dataset.theme = theme;
  try { localStorage.setItem('theme', theme); } catch { /* the browser keeps nothing of local files */ }
}
for (const each of Object.values(choices)) each.addEventListener('change', choose);
document.addEventListener('click', event => {
  const head = event.target.closest('thead th');
  if (head) sort(head);
});
for (const kind of ['mouseover', 'mouseout']) document.addEventListener(kind, point);
document.addEventListener('toggle', whole, true);
$('theme').addEventListener('click', () => {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  paint(dark ? 'light' : 'dark');
});
try {
  const theme = localStorage.getItem('theme');
  if (theme) root.dataset.theme = theme;
} catch { /* nothing is kept */ }
choose();
"""

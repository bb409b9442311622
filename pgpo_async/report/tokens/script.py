"""What happens in the browser on a token page: groups, values under pointer and keyboard, colours by key.

Owns the script as a whole; what it draws with is `drawing`'s. It asks nothing of a network. Called by
`page`.
"""

from pgpo_async.report.tokens.drawing import DRAWING

_ACTING = r"""
function showGroup(number) {
  groupNumber = number;
  group = page.groups[number];
  hide();
  const longest = Math.max(0, ...group.responses.map((response) => response.pieces.length));
  responses.style.setProperty("--column", longest > 120 ? "28rem" : "22rem");
  cells = [];
  const quantity = byKey[key];
  const cards = group.responses.map((response, place) => {
    response.classes ??= {};
    response.words ??= response.pieces.map((piece) => piece.trim() || visible(piece));
    const names = response.classes[key] ??= classes(response, quantity);
    const row = response.pieces.map((piece, token) => {
      const cell = make("span", names[token], visible(piece));
      cell.at = [place, token];
      return cell;
    });
    cells.push(row);
    if (row.length) row[0].tabIndex = 0;
    const card = make("article", "card response"), tokens = make("div", "tokens");
    tokens.setAttribute("role", "group");
    tokens.setAttribute("aria-label", `Tokens of response ${place + 1}`);
    // Until it has come into view, and a browser need not work on it; about 60 letters a line.
    const letters = response.pieces.reduce((sum, piece) => sum + piece.length, 0);
    tokens.style.setProperty("--height", 1.6 * Math.ceil(letters / 60) + "rem");
    tokens.append(...row);
    card.append(headOf(response, place), tokens);
    return card;
  });
  responses.replaceChildren(...cards);
  picker.selectedIndex = number;
  element("previous").disabled = number === 0;
  element("next").disabled = number === page.groups.length - 1;
  drawPrompt();
  colour();
}

// Of a token that begins with a space the first box may be an empty one, on the line before.
function boxOf(cell) {
  const boxes = cell.getClientRects();
  return boxes[boxes.length - 1];
}

function tell(cell) {
  const [number, place] = cell.at, response = group.responses[number];
  const span = response.spans.find(([, start, end]) => start <= place && place < end);
  const rows = page.quantities.map((quantity) => {
    const values = response.values[quantity.key];
    let text = values ? shown(values[place]) + (quantity.unit ? " " + quantity.unit : "") : "\u2013";
    if (quantity.key === "importance" && response.capped.includes(place)) text += ", cut";
    return [quantity.label, text, quantity.key === key ? "on" : ""];
  });
  const logprob = response.logprobs[place];
  rows.push(["probability", logprob === null ? "\u2013" : shown(Math.exp(logprob)), ""]);
  rows.push(["token", `${response.ids[place]}, ${place + 1} of ${response.pieces.length}`, ""]);
  if (group.step !== null && span) rows.push(["sampled by version", String(span[0]), ""]);
  const list = make("dl");
  for (const [name, value, mark] of rows) list.append(make("dt", mark, name), make("dd", mark, value));
  readout.replaceChildren(make("b", "", visible(response.pieces[place])), list);
  readout.hidden = false;
  const box = boxOf(cell), own = readout.getBoundingClientRect();
  const below = box.bottom + 8 + own.height <= innerHeight;
  readout.style.left = Math.max(6, Math.min(box.left, innerWidth - own.width - 6)) + "px";
  readout.style.top = Math.max(6, below ? box.bottom + 8 : box.top - own.height - 8) + "px";
}

function hide() {
  pinned = null;
  readout.hidden = true;
}

function focusOn(cell) {
  const row = cells[cell.at[0]];
  row.find((other) => other.tabIndex === 0)?.removeAttribute("tabindex");
  cell.tabIndex = 0;
  cell.focus();
}

function nextLine(row, place, step) {
  const here = boxOf(row[place]);
  let best = null, line = null;
  for (let other = place + step; row[other]; other += step) {
    const box = boxOf(row[other]);
    if (Math.abs(box.top - here.top) < here.height / 2) continue;
    line ??= box.top;
    if (Math.abs(box.top - line) > here.height / 2) break;
    const away = Math.abs(box.left - here.left);
    if (best === null || away < best[0]) best = [away, row[other]];
  }
  return best && best[1];
}

function move(event) {
  if (!event.target.at || event.ctrlKey || event.metaKey || event.altKey) return;
  const [number, place] = event.target.at, row = cells[number];
  const to = {
    ArrowRight: () => row[place + 1],
    ArrowLeft: () => row[place - 1],
    ArrowDown: () => nextLine(row, place, 1),
    ArrowUp: () => nextLine(row, place, -1),
    Home: () => row[0],
    End: () => row[row.length - 1],
  }[event.key];
  if (!to) return;
  event.preventDefault();
  const cell = to();
  if (cell) focusOn(cell);
}

function choose(wanted) {
  const button = buttons.find((other) => other.dataset.key === wanted);
  if (!button) return;
  if (button.getAttribute("aria-disabled") === "true") {
    element("about").textContent = button.title;
    return;
  }
  key = wanted;
  colour();
  remember();
}

function remember() {
  try {
    history.replaceState(null, "", `#${groupNumber + 1}/${key}`);
  } catch { /* a viewer that forbids it shows the page all the same */ }
}

function go(number) {
  if (!page.groups[number]) return;
  showGroup(number);
  remember();
}

const bar = document.querySelector(".bar");
new ResizeObserver(() => {
  document.documentElement.style.setProperty("--bar", bar.offsetHeight + "px");
}).observe(bar);
page.groups.forEach((each) => picker.append(make("option", "", each.label)));
element("pick").hidden = page.groups.length < 2;
picker.addEventListener("change", () => go(picker.selectedIndex));
element("previous").addEventListener("click", () => go(groupNumber - 1));
element("next").addEventListener("click", () => go(groupNumber + 1));
element("stack").addEventListener("click", (event) => {
  const stacked = responses.classList.toggle("stacked");
  event.target.setAttribute("aria-pressed", String(stacked));
});
for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.key));
responses.addEventListener("mouseover", (event) => event.target.at ? tell(event.target) : hide());
responses.addEventListener("mouseleave", hide);
responses.addEventListener("focusin", (event) => {
  if (!event.target.at) return;
  pinned = event.target;
  tell(pinned);
});
responses.addEventListener("focusout", hide);
responses.addEventListener("keydown", move);
// What is copied is the response, not the signs that make its white space visible.
responses.addEventListener("copy", (event) => {
  const text = String(getSelection());
  event.clipboardData.setData("text/plain", text.replace(/\u200b/g, "").replace(/[\u00a0\u2423]/g, " ")
    .replace(/\u21b5\n/g, "\n").replace(/\u21e5/g, "\t").replace(/\u22ef/g, ""));
  event.preventDefault();
});
addEventListener("scroll", () => pinned ? tell(pinned) : hide(), { passive: true });
addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const quantity = page.quantities[Number(event.key) - 1];
  if (quantity) choose(quantity.key);
});

const [wantedGroup, wantedKey] = decodeURIComponent(location.hash.slice(1)).split("/");
const enabled = buttons.filter((button) => button.getAttribute("aria-disabled") !== "true");
const start = enabled.find((button) => button.dataset.key === wantedKey) || enabled[0];
if (start) key = start.dataset.key;
showGroup(page.groups[wantedGroup - 1] ? wantedGroup - 1 : page.start);
"""

SCRIPT = f"(() => {{{DRAWING}{_ACTING}}})();"

"""The first half of a token page's script: texts made visible, colours, legend, prompt, top tokens.

Owns what is drawn of the group that is shown. It writes texts as text only, never as markup. Switching the
colours sets one class on each token: nothing moves, so nothing is laid out again. `script` joins it
with the rest.
"""

DRAWING = r"""
"use strict";
const page = JSON.parse(document.getElementById("token-data").textContent);
const byKey = Object.fromEntries(page.quantities.map((quantity) => [quantity.key, quantity]));
const element = (id) => document.getElementById(id);
const responses = element("responses"), readout = element("readout"), picker = element("group");
const buttons = [...document.querySelectorAll(".quantities button")];
const NUM_TOP = 12;
let group = null, groupNumber = 0, key = "dependency", cells = [], pinned = null;

function make(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function shown(value) {
  if (value === null || value === undefined) return "\u2013";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size < 1e-3 || size >= 1e6 ? size.toExponential(1) : String(Number(size.toPrecision(3)));
  return (value < 0 ? "\u2212" : "") + text;
}

const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]|(?![\u200c\u200d])\p{Cf}|(?! )\p{Zs}/gu;

// White space, controls and the rest of a character that began in the token before: nothing is invisible.
function visible(piece) {
  if (piece === "") return "\u22ef";
  let text = piece.replace(CONTROL, (letter) => {
    if (letter === "\n") return "\u21b5\n";
    if (letter === "\t") return "\u21e5";
    return "\u27e8" + letter.codePointAt(0).toString(16).toUpperCase().padStart(2, "0") + "\u27e9";
  });
  if (/^ +$/.test(text)) return "\u2423".repeat(text.length);
  // A line may end before the space, not behind it, where it would hang alone.
  if (/^ [^ ]/.test(text)) text = "\u200b\u00a0" + text.slice(1);
  return text.replace(/ {2,}/g, (spaces) => "\u2423".repeat(spaces.length));
}

function colourOf(value, { edges, colours }) {
  let number = 0;
  while (number + 1 < edges.length && value >= edges[number + 1]) number += 1;
  return colours[number];
}

function classes(response, quantity) {
  const values = response.values[quantity.key];
  const capped = quantity.key === "importance" ? new Set(response.capped) : new Set();
  const special = new Set(response.special);
  return response.pieces.map((_, place) => {
    const value = values ? values[place] : null;
    let name = value === null ? "unknown" : quantity.key + "-" + colourOf(value, quantity.scale);
    if (special.has(place)) name += " special";
    return capped.has(place) ? name + " capped" : name;
  });
}

function colour() {
  const quantity = byKey[key];
  group.responses.forEach((response, number) => {
    response.classes ??= {};
    const names = response.classes[key] ??= classes(response, quantity);
    const row = cells[number];
    for (let place = 0; place < row.length; place += 1) {
      if (row[place].className !== names[place]) row[place].className = names[place];
    }
  });
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.key === key));
  drawLegend(quantity);
  drawTop(quantity);
  if (pinned) tell(pinned);
}

function drawLegend(quantity) {
  const scale = element("scale"), { colours, labels } = quantity.scale;
  const swatches = make("div", "swatches"), ticks = make("div", "ticks");
  colours.forEach((number) => swatches.append(make("i", quantity.key + "-" + number)));
  for (const [part, text] of labels) {
    const tick = make("span", part === 0 ? "first" : part === 1 ? "last" : "", text);
    tick.style.left = 100 * part + "%";
    ticks.append(tick);
  }
  scale.replaceChildren(swatches, ticks);
  const range = labels.map(([, text]) => text).join(", ");
  scale.setAttribute("aria-label", `Colours of ${quantity.label}: ${range} ${quantity.unit}`);
  let about = quantity.about + (quantity.unit ? ` (${quantity.unit})` : "");
  const reason = group.missing[key];
  if (reason) about = `Not known of this group: ${reason}`;
  else if (key === "importance" && group.responses.some((response) => response.capped.length)) {
    about += ". A bar below a token: the loss cuts it or leaves it out";
  }
  element("about").textContent = about;
}

// Means are taken on the scale's own axis, so that 2 and 1/2 have a mean of 1 where the axis is logarithmic.
function drawTop(quantity) {
  const found = new Map(), { bySize, centre } = quantity.scale;
  const onAxis = (value) => centre === 1 ? Math.log(value) : value;
  const size = (value) => bySize ? Math.abs(value) : value;
  group.responses.forEach((response, number) => {
    const values = response.values[quantity.key] || [];
    for (let place = 0; place < values.length; place += 1) {
      if (values[place] === null) continue;
      const text = response.words[place], value = onAxis(values[place]);
      let entry = found.get(text);
      if (!entry) found.set(text, entry = { text, count: 0, sum: 0, best: -Infinity });
      entry.count += 1;
      entry.sum += value;
      if (size(value) > entry.best) Object.assign(entry, { best: size(value), number, place });
    }
  });
  const entries = [...found.values()].filter((entry) => size(entry.sum) > 0);
  const ranked = entries.sort((a, b) => size(b.sum / b.count) - size(a.sum / a.count));
  element("top").replaceChildren(...ranked.slice(0, NUM_TOP).map((entry) => {
    const axis = entry.sum / entry.count, mean = centre === 1 ? Math.exp(axis) : axis;
    const line = make("li");
    const word = make("button", quantity.key + "-" + colourOf(mean, quantity.scale), visible(entry.text));
    word.type = "button";
    word.title = "Show the one that stands out most";
    word.addEventListener("click", () => focusOn(cells[entry.number][entry.place]));
    line.append(word, make("span", "", shown(mean)), make("span", "times", "\u00d7 " + entry.count));
    return line;
  }));
  const by = bySize ? `distance of the mean ${quantity.label} from ${centre}` : `mean ${quantity.label}`;
  element("top-about").textContent = ranked.length
    ? `By ${by} in this group, and how often they occur`
    : found.size ? `Nothing stands out: all are ${centre}.` : "No token has a value.";
}

function drawPrompt() {
  element("images").replaceChildren(...group.images.map((name, number) => {
    const source = page.images[name];
    if (!source) return make("p", "muted", `Image ${number + 1} cannot be shown`);
    const image = make("img");
    image.src = source;
    image.alt = `Image ${number + 1} of the question`;
    return image;
  }));
  const lines = [make("p", "name", "Question"), make("p", "text", group.question)];
  if (group.answer !== null) {
    lines.push(make("p", "name", "Reference answer"), make("p", "text", group.answer));
  }
  element("prompt").replaceChildren(...lines);
  const share = group.boostedShare === null ? null : `${(100 * group.boostedShare).toFixed(1)} %`;
  const right = group.responses.filter((response) => response.right).length;
  const judged = group.responses.filter((response) => response.right !== null).length;
  const rows = [
    ["mean dependency", group.meanDependency === null ? null : `${shown(group.meanDependency)} nats`],
    [`tokens above \u03c4 = ${group.tau}`, share],
    ["mean reward", group.meanReward === null ? null : shown(group.meanReward)],
    ["right answers", judged ? `${right} of ${judged}` : null],
    ["step", group.step === null ? null : String(group.step)],
    ["group", group.step === null ? null : group.name],
  ];
  element("summary").replaceChildren(...rows.filter(([, value]) => value !== null).flatMap(
    ([name, value]) => [make("dt", "", name), make("dd", "", value)]));
}

function headOf(response, number) {
  const head = make("header");
  head.append(make("h3", "", `Response ${number + 1}`));
  if (response.right !== null) {
    const [name, verdict] = response.right ? ["right", "\u2713 right"] : ["wrong", "\u2717 wrong"];
    head.append(make("span", `chip ${name}`, verdict));
  }
  if (response.reward !== null) {
    const parts = Object.entries(response.parts).map(([name, value]) => `${name} ${shown(value)}`).join(", ");
    head.append(make("span", "", `reward ${shown(response.reward)}` + (parts ? ` (${parts})` : "")));
  }
  if (response.advantage !== null) head.append(make("span", "", `advantage ${shown(response.advantage)}`));
  if (response.meanDependency !== null) {
    head.append(make("span", "muted", `mean dependency ${shown(response.meanDependency)}`));
  }
  head.append(make("span", "muted", `${response.pieces.length} tokens`));
  const versions = [...new Set(response.spans.map(([version]) => version))];
  if (group.step !== null && versions.length) {
    head.append(make("span", "muted", `version${versions.length > 1 ? "s" : ""} ${versions.join(", ")}`));
  }
  if (response.truncated) head.append(make("span", "chip cut", "cut at the limit"));
  return head;
}
"""

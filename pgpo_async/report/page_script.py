"""What the page does under the pointer: a line through all charts of one axis, and the values there.

Plain JavaScript, which reads the data block of `report_page`. Without it the page shows the same charts, with
their last values. Arrow keys move the line in a chart that has the focus. The formats are those of `formats`.
"""

SCRIPT = r"""
"use strict";
(() => {
  const block = document.getElementById("run-data");
  if (!block) return;
  const { axes, charts: listed } = JSON.parse(block.textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const spoken = document.getElementById("spoken");

  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const digits = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });
  const number = (value) => {
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size < 1e-3 || size >= 1e7) return value.toExponential(2).replace("e+", "e");
    return size >= 1e4 ? whole.format(value) : digits.format(value);
  };
  const share = (value) => {
    const percent = 100 * value;
    return `${percent === 0 || Math.abs(percent) >= 99.95 ? percent.toFixed(0) : percent.toFixed(1)} %`;
  };
  const seconds = (value) => {
    if (value !== 0 && Math.abs(value) < 0.9995) return `${Number((1000 * value).toPrecision(3))} ms`;
    if (Math.abs(value) < 120) return `${Number(value.toPrecision(3))} s`;
    const total = Math.round(value), hours = Math.floor(total / 3600);
    const two = (part) => String(part).padStart(2, "0");
    if (total < 7200) return `${Math.floor(total / 60)} min ${two(total % 60)} s`;
    if (hours < 48) return `${hours} h ${two(Math.floor((total % 3600) / 60))} min`;
    return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  };
  const bytes = (value) => {
    for (const unit of ["B", "KiB", "MiB", "GiB"]) {
      if (Math.abs(value) < 1024) return `${Number(value.toPrecision(unit === "B" ? 4 : 3))} ${unit}`;
      value /= 1024;
    }
    return `${Number(value.toPrecision(3))} TiB`;
  };
  const write = { number, share, seconds, bytes, count: (value) => whole.format(value) };

  const range = (first, last) => {
    const end = whole.format(last);
    return first === last ? `step ${end}` : `steps ${whole.format(first)}\u2013${end}`;
  };
  const placeName = (axis, index) => {
    if (axis.form === "step") return range(axis.first[index], axis.last[index]);
    return `${seconds(axis.last[index])}, ${range(...axis.steps[index])}`;
  };
  const centre = (axis, index) => (axis.first[index] + axis.last[index]) / 2;
  const across = (axis, value) => {
    const [low, high, start, end] = axis.ends;
    return start + ((value - low) / (high - low)) * (end - start);
  };
  const nearest = (axis, x) => {
    const [low, high, start, end] = axis.ends;
    const value = low + ((x - start) / (end - start)) * (high - low);
    let left = 0, right = axis.first.length - 1;
    while (left < right) {
      const middle = (left + right) >> 1;
      if ((axis.last[middle] + axis.first[middle + 1]) / 2 < value) left = middle + 1;
      else right = middle;
    }
    return left;
  };
  const height = (chart, value) => {
    const line = (number) => (chart.log ? Math.log10(number) : number);
    const [low, high, start, end] = chart.y;
    if (chart.log && !(value > 0)) return null;
    const part = (line(value) - line(low)) / (line(high) - line(low));
    return start + Math.min(1, Math.max(0, part)) * (end - start);
  };

  const make = (name, kind, parent) => {
    const element = document.createElementNS(SVG, name);
    if (kind) element.setAttribute("class", kind);
    parent.append(element);
    return element;
  };
  const charts = listed.map((chart) => {
    const figure = document.getElementById(chart.id);
    const drawing = figure.querySelector(".chart");
    const values = [...figure.querySelectorAll("[data-series]")];
    const at = figure.querySelector(".at");
    const cross = make("g", "cross", drawing);
    const line = make("line", "", cross);
    line.setAttribute("y1", chart.y[2]);
    line.setAttribute("y2", chart.y[3]);
    const dots = chart.dots ? chart.series.map((one) => make("circle", `s${one.class}`, cross)) : [];
    for (const dot of dots) dot.setAttribute("r", 3.5);
    cross.style.display = "none";
    const before = values.map((value) => value.textContent);
    return { ...chart, figure, drawing, values, at, cross, line, dots, before, atBefore: at.textContent };
  });

  const told = (series, index) => {
    const form = write[series.form], mean = series.mean[index];
    if (mean === null || mean === undefined) return "\u2013";
    const low = series.low ? series.low[index] : mean, high = series.high ? series.high[index] : mean;
    return low === high ? form(mean) : `${form(mean)} (${form(low)} to ${form(high)})`;
  };
  const position = {};
  const show = (name, index) => {
    const axis = axes[name], at = centre(axis, index);
    for (const [other, its] of Object.entries(axes)) {
      if (its.form === axis.form) mark(other, other === name ? index : nearest(its, across(its, at)));
    }
  };
  const mark = (name, index) => {
    position[name] = index;
    const axis = axes[name], x = across(axis, centre(axis, index)), where = placeName(axis, index);
    for (const chart of charts) {
      if (chart.axis !== name) continue;
      chart.cross.style.display = "";
      chart.line.setAttribute("x1", x);
      chart.line.setAttribute("x2", x);
      chart.at.textContent = where;
      chart.series.forEach((series, number) => {
        if (chart.values[number]) chart.values[number].textContent = told(series, index);
        const dot = chart.dots[number];
        if (!dot) return;
        const mean = series.mean[index], y = mean === null ? null : height(chart, mean);
        dot.style.display = y === null ? "none" : "";
        if (y === null) return;
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", y);
      });
    }
  };
  const hide = (name) => {
    for (const chart of charts) {
      if (axes[chart.axis].form !== axes[name].form) continue;
      delete position[chart.axis];
      chart.cross.style.display = "none";
      chart.at.textContent = chart.atBefore;
      chart.values.forEach((value, number) => { value.textContent = chart.before[number]; });
    }
  };

  let waiting = null;
  const soon = (work) => {
    if (waiting === null) requestAnimationFrame(() => { const now = waiting; waiting = null; now(); });
    waiting = work;
  };
  for (const chart of charts) {
    const axis = axes[chart.axis], last = axis.first.length - 1;
    const move = (event) => soon(() => {
      const matrix = chart.drawing.getScreenCTM();
      if (matrix) show(chart.axis, nearest(axis, (event.clientX - matrix.e) / matrix.a));
    });
    chart.drawing.addEventListener("pointermove", move);
    chart.drawing.addEventListener("pointerdown", move);
    chart.drawing.addEventListener("pointerleave", () => soon(() => hide(chart.axis)));
    chart.figure.addEventListener("blur", () => hide(chart.axis));
    chart.figure.addEventListener("keydown", (event) => {
      const now = position[chart.axis] ?? last;
      const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
      if (event.key === "Escape") hide(chart.axis);
      if (to === undefined) return;
      event.preventDefault();
      const index = Math.min(last, Math.max(0, to));
      show(chart.axis, index);
      const read = chart.series.map((series, number) => {
        const item = chart.values[number]?.parentElement;
        return item ? item.textContent.trim() : told(series, index);
      });
      spoken.textContent = `${placeName(axis, index)}: ${read.join(", ")}`;
    });
  }
})();
"""

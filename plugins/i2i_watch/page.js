"use strict";
// The page's own data, as JSON: {groups: [{charts: [{name, series: [{points: [[step, value], …]}]}]}], epoch, grids}.
const data = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg", W = 320, H = 170, LEFT = 52, RIGHT = 16, TOP = 8, BOTTOM = 32;
const smoothing = document.getElementById("smoothing"), axis = document.getElementById("axis");
const across = () => (axis && axis.value === "epoch" ? data.epoch : 1);  // steps in a unit of the axis

function made(name, attributes, parent) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (parent) parent.append(node);
  return node;
}

function shown(value) {
  if (value === null) return "not finite";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

// Round numbers from low to high: 1, 2 or 5 times a power of ten apart.
function ticks(low, high, most, whole) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  let apart = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough * 0.999);
  if (whole) apart = Math.max(1, apart);
  const found = [];
  for (let at = Math.ceil(low / apart - 1e-9) * apart; at <= high + apart * 1e-6; at += apart) found.push(Number(at.toPrecision(12)));
  return found;
}

// A running mean that forgets, corrected for its start (Kingma & Ba 2015): the first value is the first mean.
function smoothed(points, share) {
  let sum = 0, weight = 0;
  return points.map(([step, value]) => {
    if (value === null) return [step, null];
    sum = share * sum + (1 - share) * value;
    weight = share * weight + (1 - share);
    return [step, sum / weight];
  });
}

function path(points, x, y) {
  let line = "", pen = false;
  for (const [step, value] of points) {
    if (value !== null) line += `${pen ? "L" : "M"}${x(step).toFixed(1)},${y(value).toFixed(1)}`;
    pen = value !== null;
  }
  return line;
}

function draw(chart, figure) {
  const old = figure.querySelector("svg"), share = Number(smoothing.value) / 100, unit = across();
  const series = chart.series.map((one) => ({ raw: one.points, line: share ? smoothed(one.points, share) : one.points }));
  const points = series.flatMap((one) => one.raw), values = points.map((p) => p[1]).filter((v) => v !== null);
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) [low, high] = [0, 1];
  if (high - low < 1e-12 * Math.max(1, Math.abs(high))) [low, high] = [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
  const steps = points.map((p) => p[0]), first = Math.min(...steps), last = Math.max(...steps, first + 1);
  const x = (step) => LEFT + ((step - first) / (last - first)) * (W - LEFT - RIGHT);
  const y = (value) => H - BOTTOM - ((value - low) / (high - low)) * (H - TOP - BOTTOM);
  const word = unit === 1 ? "step" : "epoch";
  const svg = made("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", tabindex: 0 });
  svg.setAttribute("aria-label", `${chart.name}, from ${shown(low)} to ${shown(high)}, ${word} ${shown(first / unit)} to ${shown(last / unit)}`);
  made("path", { d: `M${LEFT},${TOP}V${H - BOTTOM}H${W - RIGHT}`, class: "axis" }, svg);
  for (const at of ticks(low, high, 4)) {
    made("line", { x1: LEFT, x2: W - RIGHT, y1: y(at), y2: y(at), class: "grid" }, svg);
    made("text", { x: LEFT - 5, y: y(at) + 4, "text-anchor": "end" }, svg).textContent = shown(at);
  }
  for (const at of ticks(first / unit, last / unit, 5, unit === 1)) {
    made("line", { x1: x(at * unit), x2: x(at * unit), y1: H - BOTTOM, y2: H - BOTTOM + 4, class: "grid" }, svg);
    made("text", { x: x(at * unit), y: H - BOTTOM + 15, "text-anchor": "middle" }, svg).textContent = shown(at);
  }
  made("text", { x: W - RIGHT, y: H - 3, "text-anchor": "end" }, svg).textContent = word;
  series.forEach((one, place) => {
    if (share) made("path", { d: path(one.raw, x, y), class: `raw s${place % 7}` }, svg);
    made("path", { d: path(one.line, x, y), class: `curve s${place % 7}` }, svg);
    for (const [step, value] of one.raw.length < 12 ? one.line : [])
      if (value !== null) made("circle", { cx: x(step), cy: y(value), r: 2.5, fill: "currentColor", class: `s${place % 7}` }, svg);
  });
  const focused = old !== null && document.activeElement === old;
  if (old) old.replaceWith(svg);
  else figure.append(svg);
  follow(svg, series, figure.querySelector("output"), { first, last, unit, word, x });
  if (focused) svg.focus();
}

// The values at a step, under the pointer or moved by the arrow keys; else the last ones.
function follow(svg, series, output, { first, last, unit, word, x }) {
  const cursor = made("line", { y1: TOP, y2: H - BOTTOM, class: "cursor", visibility: "hidden" }, svg);
  const steps = [...new Set(series.flatMap((one) => one.line.map((p) => p[0])))].sort((a, b) => a - b);
  const near = (points, step) => points.reduce((best, p) => (Math.abs(p[0] - step) < Math.abs(best[0] - step) ? p : best), points[0]);
  let place = steps.length - 1;
  const tell = (visible) => {
    const step = steps[place], told = series.filter((one) => one.line.length).map((one) => shown(near(one.line, step)[1]));
    output.textContent = `${word} ${shown(step / unit)}: ${told.join(" | ")}`;
    cursor.setAttribute("visibility", visible ? "visible" : "hidden");
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * W;
    const step = first + ((at - LEFT) / (W - LEFT - RIGHT)) * (last - first);
    place = steps.indexOf(near(steps.map((s) => [s]), step)[0]);
    tell(true);
  });
  svg.addEventListener("pointerleave", () => { place = steps.length - 1; tell(false); });
  svg.addEventListener("blur", () => { place = steps.length - 1; tell(false); });
  svg.addEventListener("keydown", (event) => {
    const moved = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (moved === undefined) return;
    event.preventDefault();
    place = Math.min(steps.length - 1, Math.max(0, moved));
    tell(true);
  });
  tell(false);
}

const charts = [];
for (const [place, group] of data.groups.entries())
  for (const [number, chart] of group.charts.entries()) charts.push([chart, document.getElementById(`chart-${place}-${number}`)]);
const redraw = () => charts.forEach(([chart, figure]) => draw(chart, figure));
if (charts.length) {
  smoothing.addEventListener("input", () => { document.getElementById("share").textContent = `${smoothing.value} %`; redraw(); });
  if (axis) axis.addEventListener("input", redraw);
  redraw();
}

const slider = document.getElementById("slider");
if (slider) {
  const picture = document.getElementById("grid"), told = document.getElementById("told");
  const show = () => {
    const grid = data.grids[Number(slider.value)];
    picture.src = grid.src;
    picture.alt = `the sample grid of step ${grid.step}`;
    told.textContent = slider.ariaValueText = `step ${grid.step}`;
  };
  slider.addEventListener("input", show);
  slider.max = data.grids.length - 1;
  slider.value = data.grids.length - 1;
  show();
}

/** The classes of a label domain, named and coloured: native radio buttons, and a search field where there are many. */
import { $, make } from "./dom.js";
import { inkOn } from "./labels.js";

const MANY = 24;

/**
 * @param {import('./labels.js').Class[]} classes
 * @param {number} chosen
 * @param {(place: number) => void} change
 */
export function showPalette(classes, chosen, change) {
  $("palette").replaceChildren(...classes.map((one, place) => entry(one, place, place === chosen, change)));
  $("palette-search-field").hidden = classes.length <= MANY;
  $("palette-search").value = "";
  $("palette-search").oninput = () => filter($("palette-search").value.trim().toLowerCase());
}

export function choosePlace(place) {
  const input = $("palette").querySelector(`input[value="${place}"]`);
  if (input) input.checked = true;
}

function entry({ name, color }, place, checked, change) {
  const input = make("input", { type: "radio", name: "palette", value: String(place), checked });
  input.addEventListener("change", () => change(place));
  const swatch = make("span", { class: "swatch" });
  swatch.style.setProperty("--swatch", color);
  swatch.style.setProperty("--on", inkOn(color));
  const shown = name.replaceAll("_", " ");
  return make("label", { class: "class", title: shown }, input, swatch, make("span", { class: "class-name", text: shown }));
}

function filter(word) {
  for (const label of $("palette").children) label.hidden = !label.title.toLowerCase().includes(word);
}

/** Small helpers for elements. Text from outside becomes text nodes only. */

export const $ = (id) => document.getElementById(id);

/**
 * An element. `class`, `text` and `on` (event name -> listener) are special, properties of the element are set as such, and
 * everything else is an attribute.
 *
 * @param {string} tag
 * @param {Record<string, any>} [given]
 * @param {...(Node|string)} children
 */
export function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** One of the drawings in index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * Radio buttons in a row: native ones, so that the arrow keys work.
 *
 * @param {HTMLElement} group  is emptied first
 * @param {{value: string, label: string, icon?: string, title?: string}[]} entries
 * @param {string} chosen
 * @param {(value: string) => void} change
 */
export function choices(group, entries, chosen, change) {
  const name = `choice-${group.id}`;
  group.replaceChildren(
    ...entries.map((entry) => {
      const given = { type: "radio", name, value: entry.value, checked: entry.value === chosen, "aria-label": entry.label };
      const input = make("input", given);
      input.addEventListener("change", () => change(entry.value));
      const shown = entry.icon ? [icon(entry.icon), make("span", { class: "wide", text: entry.label })] : [entry.label];
      return make("label", { class: "choice", title: entry.title ?? "" }, input, ...shown);
    }),
  );
  group.hidden = entries.length < 2;
}

/** Chooses an entry of `choices` without telling anybody. */
export function choose(group, value) {
  for (const input of group.querySelectorAll("input")) input.checked = input.value === value;
}

/** Frees the address of a blob that an image showed, and shows another. */
export function showBlob(image, blob) {
  const before = image.src;
  image.src = blob ? URL.createObjectURL(blob) : "";
  if (!blob) image.removeAttribute("src");
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
}

/** A message of the command line's form with a capital letter and a full stop. */
export function sentence(text) {
  const whole = text.trim();
  return whole.charAt(0).toUpperCase() + whole.slice(1) + (/[.!?…]$/.test(whole) ? "" : ".");
}

/** Lets a person keep a file. */
export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/**
 * A card's Markdown as elements: headings, paragraphs, lists, tables, code. Everything else stays the text that it is: no
 * HTML, no pictures, and links only as their text with the address behind it.
 */
import { make } from "./dom.js";

const MOST = 4000; // lines

/** @param {string} text  @returns {DocumentFragment} */
export function rendered(text) {
  const lines = text.split("\n").slice(0, MOST);
  const made = document.createDocumentFragment();
  while (lines.length) {
    const block = fenced(lines) ?? heading(lines) ?? table(lines) ?? list(lines) ?? indented(lines) ?? paragraph(lines);
    if (block) made.append(block);
  }
  return made;
}

function fenced(lines) {
  const fence = /^(`{3,}|~{3,})/.exec(lines[0])?.[1];
  if (!fence) return null;
  lines.shift();
  const code = [];
  while (lines.length && !lines[0].startsWith(fence)) code.push(lines.shift());
  lines.shift();
  return codeBlock(code);
}

function codeBlock(code) {
  return make("pre", { tabIndex: 0 }, make("code", { text: code.join("\n") }));
}

/** One level lower at least than the dialog's own heading. */
function heading(lines) {
  const found = /^(#{1,6})\s+(.*?)\s*#*$/.exec(lines[0]);
  if (!found) return null;
  lines.shift();
  return make(`h${Math.min(found[1].length + 2, 6)}`, {}, ...inline(found[2]));
}

function table(lines) {
  if (!lines[0].includes("|") || !/^\s*\|?[\s:|-]*-[\s:|-]*$/.test(lines[1] ?? "") || !lines[1].includes("|")) return null;
  const head = cells(lines.shift());
  lines.shift();
  const rows = [];
  while (lines.length && lines[0].includes("|")) rows.push(cells(lines.shift()));
  const row = (name, texts) => make("tr", {}, ...texts.map((text) => make(name, {}, ...inline(text))));
  const made = make(
    "table",
    {},
    make("thead", {}, row("th", head)),
    make("tbody", {}, ...rows.map((texts) => row("td", texts))),
  );
  return make("div", { class: "scroll", tabIndex: 0 }, made);
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function list(lines) {
  const kind = /^\s*([-*+]|\d{1,9}[.)])\s+/;
  if (!kind.test(lines[0])) return null;
  const made = make(/^\s*\d/.test(lines[0]) ? "ol" : "ul");
  while (lines.length && kind.test(lines[0])) {
    const item = [lines.shift().replace(kind, "")];
    while (lines.length && /^\s+\S/.test(lines[0]) && !kind.test(lines[0])) item.push(lines.shift().trim());
    made.append(make("li", {}, ...inline(item.join(" "))));
  }
  return made;
}

function indented(lines) {
  if (!/^ {4}|^\t/.test(lines[0]) || !lines[0].trim()) return null;
  const code = [];
  while (lines.length && (/^ {4}|^\t/.test(lines[0]) || !lines[0].trim())) code.push(lines.shift().replace(/^ {4}|^\t/, ""));
  while (code.length && !code.at(-1).trim()) code.pop();
  return codeBlock(code);
}

function paragraph(lines) {
  const held = [lines.shift()];
  if (!held[0].trim() || /^!\[[^\]]*\]\([^)]*\)$/.test(held[0].trim())) return null;
  while (lines.length && lines[0].trim() && !/^(#{1,6}\s|`{3,}|~{3,}|\s*([-*+]|\d+[.)])\s)/.test(lines[0]))
    held.push(lines.shift());
  return make("p", {}, ...inline(held.join(" ")));
}

/** Code, strong and emphasised words; a link becomes its text and its address in brackets. */
function inline(text) {
  const parts = text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*|!?\[[^\]]*\]\([^)\s]*\))/);
  return parts.filter(Boolean).map((part) => {
    if (part.length > 2 && part.startsWith("`")) return make("code", { text: part.slice(1, -1) });
    if (part.length > 4 && part.startsWith("**")) return make("strong", { text: part.slice(2, -2) });
    if (part.length > 2 && /^\*[^*]+\*$/.test(part)) return make("em", { text: part.slice(1, -1) });
    const link = /^!?\[([^\]]*)\]\(([^)\s]*)\)$/.exec(part);
    if (link) return link[1] !== link[2] ? `${link[1]} (${link[2]})` : link[1];
    return part;
  });
}

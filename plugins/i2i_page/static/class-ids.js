/** The classes that a label map's file shows, as ``i2i.pictures.labels`` finds them. */

/**
 * @param {import("./png-read.js").Picture & {lossy: boolean}} picture
 * @param {object} domain of the description: its classes and its preparation
 * @returns {Uint16Array} (height, width), classes
 * @throws {Error} with a sentence, if a number or a colour is of no class
 */
export function idsOf(picture, domain) {
  if (picture.lossy) throw new Error("this label map is a JPEG, whose compression changes the classes. Give a PNG.");
  const { colored } = domain.preparation;
  if (!colored && picture.indices && placesAreNumbers(picture, domain)) return ofNumbers(picture.indices, domain);
  if (!colored && picture.channels === 1) {
    return ofNumbers(picture.depth === 1 ? picture.data.map((value) => value / 255) : picture.data, domain);
  }
  if (picture.depth === 16) throw new Error("a label map in colours has 8 bits for each; this one has 16. Give one of 8 bits.");
  return ofColors(picture, domain);
}

/** A function from a file's number to its class, whether there is such a class or not. */
function mapping({ preparation }) {
  const listed = new Map(preparation.values);
  return (number) => listed.get(number) ?? number + preparation.offset;
}

function ofNumbers(numbers, domain) {
  const known = new Map(), classOf = mapping(domain), ids = new Uint16Array(numbers.length);
  numbers.forEach((number, i) => {
    if (!known.has(number)) known.set(number, classOf(number));
    ids[i] = known.get(number);
  });
  const wrong = [...known].filter(([, id]) => id < 0 || id >= domain.classes.length).map(([number]) => number).sort((a, b) => a - b);
  if (wrong.length) {
    const told = wrong.slice(0, 5).join(", ") + (wrong.length > 5 ? ", …" : "");
    throw new Error(`the label map holds ${told}, outside the ${domain.classes.length} classes of '${domain.name}'. Correct the map.`);
  }
  return ids;
}

/** Whether the places that a picture names in its palette are the numbers of classes, and not only their colours. */
function placesAreNumbers({ indices, palette }, domain) {
  const used = [...new Set(indices)], classOf = mapping(domain);
  const color = (index) => palette.subarray(index * 4, index * 4 + 3);
  const ownColors = used.every((index) => code(color(index)) === colorCodes(domain)[classOf(index)]);
  const ramp = used.every((index) => color(index).every((value) => value === index));
  return ownColors || ramp || !used.every((index) => colorCodes(domain).includes(code(color(index))));
}

function ofColors({ data, channels }, domain) {
  const table = new Map(colorCodes(domain).map((value, id) => [value, id]).reverse()); // the first of two with one colour
  const ids = new Uint16Array(data.length / channels), others = new Map(), { unknown } = domain.preparation;
  for (let i = 0, at = 0; i < ids.length; i++, at += channels) {
    const value = code(channels < 3 ? [data[at], data[at], data[at]] : [data[at], data[at + 1], data[at + 2]]);
    const id = table.get(value) ?? unknown;
    if (id === null) others.set(value, (others.get(value) ?? 0) + 1);
    else ids[i] = id;
  }
  if (others.size) throw new Error(noClass(others, ids.length, domain));
  return ids;
}

const code = ([red, green, blue]) => (red << 16) | (green << 8) | blue;

const colorCodes = (domain) => domain.classes.map((one) => parseInt(one.color.slice(1), 16));

function noClass(others, pixels, domain) {
  const [most] = [...others].reduce((a, b) => (b[1] > a[1] ? b : a));
  const count = [...others.values()].reduce((a, b) => a + b, 0), parts = (value) => [value >> 16, (value >> 8) & 255, value & 255];
  const away = colorCodes(domain).map((value) => parts(value).reduce((sum, v, i) => sum + (v - parts(most)[i]) ** 2, 0));
  const near = domain.classes[away.indexOf(Math.min(...away))];
  return (
    `${count} of ${pixels} pixels have a colour that no class of '${domain.name}' has, most often (${parts(most).join(", ")}); ` +
    `the nearest is '${near.name}', (${parts(parseInt(near.color.slice(1), 16)).join(", ")}). Paint in exactly the classes' ` +
    "colours and save a PNG, or save a grey PNG of the classes' numbers."
  );
}

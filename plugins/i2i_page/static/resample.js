/** Scaling as the data sets' files are scaled: images by antialiased bicubic interpolation, label ids by the nearest pixel. */

/**
 * The size that a picture of *size* is scaled to; halves are rounded to the even number, as Python does.
 *
 * @param {{size: number[] | null, cover: boolean}} preparation
 * @param {number[]} size (height, width)
 * @returns {number[]} (height, width)
 */
export function networkSize(preparation, size) {
  if (!preparation.size) return size;
  if (!preparation.cover) return preparation.size;
  const factor = Math.max(preparation.size[0] / size[0], preparation.size[1] / size[1]);
  return preparation.size.map((least, i) => Math.max(least, rounded(size[i] * factor)));
}

/**
 * Planes at another size, by Keys' cubic kernel with a = -0.5, stretched where the picture becomes smaller. Rows come first;
 * 8-bit values are rounded and clamped after both passes, as torch does.
 *
 * @template {Uint8ClampedArray | Float32Array} T
 * @param {T} data (channels, height, width), 0…255 or 0…1
 * @param {number} channels
 * @param {number[]} from (height, width)
 * @param {number[]} to (height, width)
 * @returns {T} (channels, height, width) of the new size
 */
export function bicubic(data, channels, [height, width], [rows, columns]) {
  const wide = width === columns ? data : alongRows(data, channels * height, width, columns);
  return height === rows ? wide : alongColumns(wide, channels, height, columns, rows);
}

/**
 * @param {Uint16Array} ids (height, width)
 * @param {number[]} from (height, width)
 * @param {number[]} to (height, width)
 * @returns {Uint16Array} (height, width) of the new size
 */
export function nearest(ids, [height, width], [rows, columns]) {
  const made = new Uint16Array(rows * columns);
  const place = (i, have, want) => Math.min(Math.floor((i + 0.5) * (have / want)), have - 1);
  const across = Array.from({ length: columns }, (_, x) => place(x, width, columns));
  for (let y = 0, at = 0; y < rows; y++) {
    const start = place(y, height, rows) * width;
    for (let x = 0; x < columns; x++) made[at++] = ids[start + across[x]];
  }
  return made;
}

function rounded(value) {
  const low = Math.floor(value), rest = value - low;
  return rest === 0.5 ? low + (low % 2) : Math.round(value);
}

function alongRows(data, rows, width, columns) {
  const made = new data.constructor(rows * columns), taps = weights(width, columns);
  for (let y = 0, at = 0; y < rows; y++) {
    for (const { first, values } of taps) {
      let sum = 0;
      for (let i = 0; i < values.length; i++) sum += values[i] * data[y * width + first + i];
      made[at++] = sum;
    }
  }
  return made;
}

function alongColumns(data, channels, height, width, rows) {
  const made = new data.constructor(channels * rows * width), taps = weights(height, rows);
  for (let c = 0, at = 0; c < channels; c++) {
    for (const { first, values } of taps) {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let i = 0; i < values.length; i++) sum += values[i] * data[(c * height + first + i) * width + x];
        made[at++] = sum;
      }
    }
  }
  return made;
}

/** For each new place the first old one that it depends on, and the weights from there. */
function weights(have, want) {
  const scale = have / want, stretch = Math.max(scale, 1), support = 2 * stretch;
  return Array.from({ length: want }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), have);
    const values = Array.from({ length: end - first }, (_, j) => cubic((j + first - center + 0.5) / stretch));
    const sum = values.reduce((a, b) => a + b, 0);
    return { first, values: values.map((value) => value / sum) };
  });
}

/** Keys (1981), equation 4, with a = -0.5. */
function cubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

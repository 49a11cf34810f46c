/** The sizes at which one can paint. */

const LARGEST = 1024;

/**
 * @param {object} domain  of the input
 * @param {{divisor: number}} model
 * @param {number} pixels  the most that the engine accepts
 * @returns {{width: number, height: number, label: string}[]}  the first is the one that the model was trained at
 */
export function canvasSizes(domain, { divisor }, pixels) {
  const { size, cover } = domain.preparation;
  const [height, width] = size ?? domain.size ?? [256, 256];
  const trained = entry(width, height, domain.size || size ? ", as trained" : "");
  if (size && !cover) return [trained];
  const fitting = (value) => Math.max(divisor, Math.round(value / divisor) * divisor);
  const shapes = [1, 2, 3, 4, 6, 8].flatMap((factor) => [
    [width * factor, height * factor, ""],
    [width * factor, (height * factor) / 2, ", wide"],
  ]);
  const made = shapes
    .map(([w, h, told]) => entry(fitting(w), fitting(h), told))
    .filter((one) => {
      const large = Math.max(one.width, one.height) > LARGEST || one.width * one.height > pixels;
      return !large && Math.min(one.width, one.height) >= Math.min(width, height) / 1.01;
    });
  const others = made.filter((one) => one.width !== trained.width || one.height !== trained.height);
  return [trained, ...unique(others).sort((one, other) => one.width * one.height - other.width * other.height)];
}

function entry(width, height, told) {
  return { width, height, label: `${width} × ${height}${told}` };
}

function unique(entries) {
  return [...new Map(entries.map((one) => [`${one.width}x${one.height}`, one])).values()];
}

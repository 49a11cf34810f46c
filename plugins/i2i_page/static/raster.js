/**
 * A picture of whole numbers, and how one paints in it. No edge is ever blended, except by `soft`.
 *
 * Points are continuous: the pixel (column, row) covers column … column + 1 and row … row + 1.
 *
 * @typedef {{x: number, y: number}} Point
 * @typedef {{left: number, top: number, right: number, bottom: number}} Area  right and bottom are not included
 */
export class Raster {
  /** @param {number} width  @param {number} height  @param {Uint8Array|Uint16Array} values  width * height, row by row */
  constructor(width, height, values) {
    this.width = width;
    this.height = height;
    this.values = values;
  }

  /** @param {number} most  the largest number that it will hold */
  static filled(width, height, value, most = 255) {
    const values = new (most > 255 ? Uint16Array : Uint8Array)(width * height).fill(value);
    return new Raster(width, height, values);
  }

  copy() {
    return new Raster(this.width, this.height, this.values.slice());
  }

  /** The number under a point; undefined outside. */
  at({ x, y }) {
    const column = Math.floor(x);
    return column >= 0 && column < this.width ? this.values[Math.floor(y) * this.width + column] : undefined;
  }

  /** A line with round ends: the pixels whose centre is within size / 2 of it, and those under its two ends. */
  stroke(from, to, size, value) {
    const area = this.#around(from, to, size / 2);
    const reach = (size / 2) ** 2;
    this.#each(area, (place, x, y) => {
      if (distance2(x, y, from, to).squared <= reach) this.values[place] = value;
    });
    this.#dot(from, value);
    this.#dot(to, value);
    return area;
  }

  /**
   * The same with a smooth edge, for pens: `ink` 0 is black, which only darkens, and 255 is white, which only lightens.
   *
   * @param {Point & {size: number}} from  the width may change along the line
   * @param {Point & {size: number}} to
   */
  soft(from, to, ink) {
    const area = this.#around(from, to, Math.max(from.size, to.size) / 2 + 1);
    this.#each(area, (place, x, y) => {
      const { squared, along } = distance2(x, y, from, to);
      const radius = (from.size + (to.size - from.size) * along) / 2;
      const cover = Math.min(Math.max(radius - Math.sqrt(squared) + 0.5, 0), 1);
      if (ink) this.values[place] = Math.max(this.values[place], Math.round(255 * cover));
      else this.values[place] = Math.min(this.values[place], Math.round(255 * (1 - cover)));
    });
    return area;
  }

  /** All pixels of one number that hang together (by their sides) with the one at the point. */
  fill(point, value) {
    const { width, height, values } = this;
    const before = this.at(point);
    if (before === value || before === undefined) return this.#all();
    const open = [Math.floor(point.y) * width + Math.floor(point.x)];
    while (open.length) {
      const place = open.pop();
      if (values[place] !== before) continue;
      const row = place - (place % width);
      let left = place;
      let right = place;
      while (left > row && values[left - 1] === before) left -= 1;
      while (right < row + width - 1 && values[right + 1] === before) right += 1;
      for (let one = left; one <= right; one += 1) {
        values[one] = value;
        if (one >= width && values[one - width] === before) open.push(one - width);
        if (one < width * (height - 1) && values[one + width] === before) open.push(one + width);
      }
    }
    return this.#all();
  }

  /** The inside of a polygon: pixels whose centre it holds, by the even-odd rule. @param {Point[]} corners */
  polygon(corners, value) {
    for (let row = 0; row < this.height; row += 1) {
      const crossings = crossed(corners, row + 0.5).sort((one, other) => one - other);
      for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
        const from = Math.max(Math.ceil(crossings[pair] - 0.5), 0);
        const to = Math.min(Math.ceil(crossings[pair + 1] - 0.5), this.width);
        if (to > from) this.values.fill(value, row * this.width + from, row * this.width + to);
      }
    }
    return this.#all();
  }

  /** Another size, each pixel the nearest one of before. */
  scaled(width, height) {
    const made = Raster.filled(width, height, 0, this.values.BYTES_PER_ELEMENT > 1 ? 65535 : 255);
    for (let y = 0; y < height; y += 1) {
      const row = Math.floor(((y + 0.5) * this.height) / height) * this.width;
      for (let x = 0; x < width; x += 1) {
        made.values[y * width + x] = this.values[row + Math.floor(((x + 0.5) * this.width) / width)];
      }
    }
    return made;
  }

  #all() {
    return { left: 0, top: 0, right: this.width, bottom: this.height };
  }

  #dot({ x, y }, value) {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column >= 0 && row >= 0 && column < this.width && row < this.height) this.values[row * this.width + column] = value;
  }

  /** @returns {Area} */
  #around(from, to, radius) {
    const within = (value, most) => Math.min(Math.max(value, 0), most);
    return {
      left: within(Math.floor(Math.min(from.x, to.x) - radius), this.width),
      top: within(Math.floor(Math.min(from.y, to.y) - radius), this.height),
      right: within(Math.ceil(Math.max(from.x, to.x) + radius) + 1, this.width),
      bottom: within(Math.ceil(Math.max(from.y, to.y) + radius) + 1, this.height),
    };
  }

  /** Calls with the place and the centre of every pixel of an area. */
  #each(area, call) {
    for (let row = area.top; row < area.bottom; row += 1) {
      for (let column = area.left; column < area.right; column += 1) call(row * this.width + column, column + 0.5, row + 0.5);
    }
  }
}

/** The squared distance from (x, y) to the segment, and where on it the nearest point lies, 0 … 1. */
function distance2(x, y, from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  const along = length ? Math.min(Math.max(((x - from.x) * dx + (y - from.y) * dy) / length, 0), 1) : 0;
  return { squared: (x - from.x - along * dx) ** 2 + (y - from.y - along * dy) ** 2, along };
}

/** Where the edges of a closed polygon cross the horizontal line at y. */
function crossed(corners, y) {
  return corners.flatMap((from, place) => {
    const to = corners[(place + 1) % corners.length];
    if (from.y <= y === to.y <= y) return [];
    return [from.x + ((y - from.y) / (to.y - from.y)) * (to.x - from.x)];
  });
}

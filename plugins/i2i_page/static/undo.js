/** What was painted before, bounded in steps and in memory. */

const STEPS = 200;
const BYTES = 2 ** 26;

export class Undo {
  #before = [];
  #after = [];

  get canUndo() {
    return this.#before.length > 0;
  }

  get canRedo() {
    return this.#after.length > 0;
  }

  /** @param {import('./raster.js').Raster} raster  as it is before a change */
  keep(raster) {
    this.#after = [];
    this.#before.push(raster.copy());
    const most = Math.max(1, Math.min(STEPS, Math.floor(BYTES / raster.values.byteLength)));
    this.#before.splice(0, this.#before.length - most);
  }

  back(now) {
    const found = this.#before.pop();
    if (found) this.#after.push(now.copy());
    return found;
  }

  forth(now) {
    const found = this.#after.pop();
    if (found) this.#before.push(now.copy());
    return found;
  }
}

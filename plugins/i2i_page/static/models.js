/** Which models take the same input. */

/**
 * The direction in which another model takes what this one takes: the one with the same names, else the first that fits.
 *
 * @returns {{direction: object|null, refusal: string}}
 */
export function fittingDirection(other, model, direction) {
  const source = model.domains[direction.source];
  const fitting = other.directions.filter((one) => sameInput(other.domains[one.source], source));
  const named = (one) => one.label === direction.label;
  const from = (one) => other.domains[one.source].name === source.name;
  const found = fitting.find(named) ?? fitting.find(from) ?? fitting[0] ?? null;
  return { direction: found, refusal: found ? "" : refusal(other, source) };
}

function sameInput(one, other) {
  if (one.kind !== other.kind) return false;
  return one.kind === "image" || namesOf(one) === namesOf(other);
}

function namesOf({ classes }) {
  return JSON.stringify(classes.map(({ name }) => name));
}

function refusal(other, source) {
  const takes = [...new Set(other.directions.map((one) => other.domains[one.source].kind))];
  if (takes.includes(source.kind)) return "This model takes label maps of other classes.";
  return takes[0] === "labels" ? "This model takes label maps, not pictures." : "This model takes pictures, not label maps.";
}

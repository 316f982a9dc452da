// The order in which places are walked. A place has `lon` and `lat` in degrees, WGS-84.

const EARTH_M = 6371000;
const RAD = Math.PI / 180;

export function metresBetween(a, b) {
  const [dy, dx] = [(b.lat - a.lat) * RAD, (b.lon - a.lon) * RAD * Math.cos(((a.lat + b.lat) / 2) * RAD)];
  return EARTH_M * Math.hypot(dx, dy); // within a district as good as a great circle
}

// The nearest one next, from where one stands, or from the first place.
export function route(places, here) {
  const left = [...places];
  const way = [];
  let at = here ?? left[0];
  while (left.length) {
    left.sort((a, b) => metresBetween(at, a) - metresBetween(at, b));
    at = left.shift();
    way.push(at);
  }
  return way;
}

export function lengthOf(way, here) {
  const points = here ? [here, ...way] : way;
  return points.slice(1).reduce((sum, point, i) => sum + metresBetween(points[i], point), 0);
}

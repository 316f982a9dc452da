// What lies on the map: sites, findings of a night, what was not observed, base maps. Drawn as SVG by Leaflet.

/* global L */

const NEAR_ZOOM = 16; // from here on a mark stands beside its site, not on it
const FAR_ZOOM = 14; // up to here marks are smaller
const WORLD = [[-85, -180], [-85, 180], [85, 180], [85, -180]];
const PANES = { unseen: 300, outlines: 410, findings: 430, marks: 450 };

/** A site's mark: the path of its state, wherever the site is. */
const Mark = L.CircleMarker.extend({
  _updatePath() {
    const { x, y } = this._point;
    this._renderer._setPath(this, this._empty() ? "M0 0" : `M${x} ${y}${this.options.path}`);
  },
});

/** An empty map in its element; words come from the page. */
export function openMap(element, words) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const map = L.map(element, {
    attributionControl: false,
    zoomControl: false,
    minZoom: 9,
    maxZoom: 21,
    fadeAnimation: !still,
    zoomAnimation: !still,
    inertia: !still,
  });
  L.control.zoom({ zoomInTitle: words.zoomIn, zoomOutTitle: words.zoomOut, position: "topleft" }).addTo(map);
  L.control.scale({ imperial: false, position: "bottomright" }).addTo(map);
  for (const [name, level] of Object.entries(PANES)) map.createPane(name).style.zIndex = level;
  return map;
}

/** All sites, each with an outline and a mark of the shape of its state. */
export class Sites {
  constructor(map, choose) {
    this.map = map;
    this.choose = choose;
    this.byCode = new Map();
    map.on("zoomend", () => this.#place());
  }

  draw({ marks, sites }) {
    for (const site of sites) {
      const outline = this.#outline(site).addTo(this.map);
      const bounds = outline.getBounds();
      const mark = new Mark(bounds.getCenter(), {
        pane: "marks",
        radius: 8,
        path: marks[site.state],
        className: `site-mark state-${site.state}`,
      }).addTo(this.map);
      mark.bindTooltip(`${site.code} ${site.name}`);
      for (const layer of [outline, mark]) layer.on("click", () => this.choose(site.code));
      this.byCode.set(site.code, { site, outline, mark, bounds });
    }
    this.near = null;
    this.#place();
  }

  #outline(site) {
    const options = { pane: "outlines", className: `site-outline state-${site.state}` };
    if (site.radius_m === null) return L.geoJSON(site.geometry, { style: options });
    const [lon, lat] = site.geometry.coordinates;
    const circle = L.circle([lat, lon], { ...options, radius: site.radius_m });
    const reach = (site.radius_m / 6_371_000) * (180 / Math.PI); // circles know no bounds before they are drawn
    const across = reach / Math.cos((lat * Math.PI) / 180);
    circle.getBounds = () => L.latLngBounds([lat - reach, lon - across], [lat + reach, lon + across]);
    return circle;
  }

  #place() {
    this.map.getContainer().classList.toggle("from-afar", this.map.getZoom() <= FAR_ZOOM);
    const near = this.map.getZoom() >= NEAR_ZOOM;
    if (near === this.near) return;
    this.near = near;
    for (const { mark, bounds } of this.byCode.values()) {
      mark.setLatLng(near ? bounds.getNorthWest() : bounds.getCenter());
    }
  }

  /** Makes one site stand out, and those of a search; null for none. */
  show(chosen, found) {
    const wanted = found && new Set(found);
    for (const [code, { mark, outline }] of this.byCode) {
      const faded = Boolean(wanted) && !wanted.has(code) && code !== chosen;
      for (const element of elements(outline, mark)) {
        element.classList.toggle("chosen", code === chosen);
        element.classList.toggle("faded", faded);
      }
      if (code === chosen) mark.bringToFront();
    }
  }

  bounds(codes) {
    const all = L.latLngBounds([]);
    for (const code of codes) if (this.byCode.has(code)) all.extend(this.byCode.get(code).bounds);
    return all.isValid() ? all : null;
  }
}

function elements(...layers) {
  return layers.flatMap((layer) => (layer.getLayers ? layer.getLayers() : [layer])).map((each) => each.getElement());
}

/** What one night saw and did not see. */
export class Night {
  constructor(map, choose) {
    this.map = map;
    this.choose = choose;
    this.layers = L.layerGroup().addTo(map);
    this.drawn = new Map();
  }

  /** @param covered GeoJSON of what was observed, null if nothing was; everything else is hatched. */
  draw(covered, features) {
    this.layers.clearLayers();
    this.drawn.clear();
    const polygons = !covered ? [] : covered.type === "Polygon" ? [covered.coordinates] : covered.coordinates;
    const seen = polygons.flat().map((ring) => ring.map(([lon, lat]) => [lat, lon]));
    L.polygon([WORLD, ...seen], {
      pane: "unseen",
      interactive: false,
      className: "unseen",
      fillColor: "url(#hatch)",
      fillOpacity: 1,
      fillRule: "evenodd", // a hole in what was seen was not seen
    }).addTo(this.layers);
    for (const feature of features) {
      const name = `kind-${feature.properties.kind}`;
      const casing = { pane: "findings", interactive: false, className: `finding-casing ${name}` };
      L.geoJSON(feature, { style: casing }).addTo(this.layers);
      const outline = L.geoJSON(feature, { style: { pane: "findings", className: `finding-outline ${name}` } });
      outline.on("click", () => this.choose(feature.id));
      this.drawn.set(feature.id, outline.addTo(this.layers));
    }
  }

  show(id) {
    for (const [each, layer] of this.drawn) {
      for (const element of elements(layer)) element.classList.toggle("chosen", each === id);
    }
    return this.drawn.get(id)?.getBounds();
  }
}

/** The picture below everything: of the night's scenes, of Tianditu, or none. */
export class Base {
  constructor(map, tianditu, credit) {
    this.map = map;
    this.tianditu = tianditu;
    this.credit = L.control.attribution({ prefix: false }).addAttribution(credit);
    this.layers = [];
    this.described = new Map();
  }

  clear() {
    for (const layer of this.layers) layer.remove();
    this.layers = [];
    this.credit.remove();
  }

  async draw(name, scenes) {
    const token = (this.token = {});
    if (name.startsWith("tianditu-")) {
      this.clear();
      this.#add(this.tianditu[name.slice(9)].map((url) => L.tileLayer(url, { maxNativeZoom: 18, maxZoom: 21 })));
      this.credit.addTo(this.map);
      return;
    }
    const shown = scenes.filter((scene) => scene.layers.includes(name));
    const described = await Promise.all(shown.map((scene) => this.#describe(scene.id, name)));
    if (this.token !== token) return; // another one was chosen meanwhile
    this.clear();
    this.#add(described.filter(Boolean).map((about) => tiles(about, name)));
  }

  #add(layers) {
    for (const layer of layers) this.layers.push(layer.addTo(this.map));
  }

  async #describe(id, name) {
    const address = `/api/v1/scenes/${encodeURIComponent(id)}/${name}/tilejson.json`;
    if (!this.described.has(address)) {
      const answer = await fetch(address);
      if (answer.ok) this.described.set(address, await answer.json());
    }
    return this.described.get(address);
  }
}

function tiles({ tiles: [address], bounds: [west, south, east, north], minzoom, maxzoom }, name) {
  return L.tileLayer(address.slice(address.indexOf("/api/")), {
    bounds: [[south, west], [north, east]],
    minZoom: minzoom,
    maxNativeZoom: maxzoom,
    maxZoom: 21,
    opacity: name === "probability" ? 0.85 : 1,
    className: "scene-tile",
  });
}

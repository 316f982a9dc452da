// What one is sent to, and its pictures, on the phone: as the server gave it last. The service worker serves from here.

export const LIST = "/api/v1/field/alerts";
const KEPT = "jingdi-field-kept";
const possible = "caches" in window; // on https

function picturesOf(items) {
  return items.flatMap((item) => [item.view.before, item.view.after, item.earlier].filter(Boolean));
}

// Pictures of what is on the list, and of nothing else, stay on the phone. Says how many there are, null if the line
// is gone before all have come.
export async function keep(list) {
  if (!possible) return null;
  const cache = await caches.open(KEPT);
  await cache.put(LIST, new Response(JSON.stringify(list), { headers: { "Content-Type": "application/json" } }));
  const wanted = picturesOf(list.items);
  for (const request of await cache.keys()) {
    const { pathname, search } = new URL(request.url);
    if (![LIST, ...wanted].includes(pathname + search)) await cache.delete(request);
  }
  for (const url of wanted) {
    if (await cache.match(url)) continue;
    try {
      const response = await fetch(url);
      if (response.ok) await cache.put(url, response);
    } catch {
      return null;
    }
  }
  return wanted.length;
}

// The list as it was last; null if there is none of this person.
export async function kept(person) {
  if (!possible) return null;
  const found = await (await caches.open(KEPT)).match(LIST);
  const list = found ? await found.json() : null;
  return !person || list?.person === person ? list : null;
}

export function forget() {
  return possible ? caches.delete(KEPT) : undefined;
}

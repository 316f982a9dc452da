// The service worker of the field: its page, and what was kept of it, are there without a line. The version in the
// address is that of all static files; with another one comes another cache.

const version = new URL(self.location).searchParams.get("v");
const SHELL = `jingdi-field-${version}`;
const KEPT = "jingdi-field-kept"; // pictures and the list, put there by the page
const PAGE = "/field";
const WAIT_MS = 4000; // for a line that is there and brings nothing

const versioned = ["base.css", "picture.css", "shoot.css", "field.css", "field.js", "icon.svg"];
const modules = ["camera.js", "kept.js", "outbox.js", "route.js", "upload.js", "whom.js", "icon-192.png"];
const files = [
  ...versioned.map((name) => `/static/${name}?v=${version}`),
  ...modules.map((name) => `/static/${name}`),
  "/field.webmanifest",
];

self.addEventListener("install", (event) => {
  const fill = async () => {
    const cache = await caches.open(SHELL);
    await cache.addAll([PAGE, ...files]);
    await self.skipWaiting();
  };
  event.waitUntil(fill());
});

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith("jingdi-field-") && ![SHELL, KEPT].includes(name));
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

function fetchInTime(request) {
  const late = new Promise((_, reject) => setTimeout(reject, WAIT_MS, new Error("late")));
  return Promise.race([fetch(request), late]);
}

async function page(request) {
  const cache = await caches.open(SHELL);
  try {
    const response = await fetchInTime(request);
    // Whoever has to sign in first may be somebody else: what the one before was sent to is not for them.
    if (response.type === "opaqueredirect") await caches.delete(KEPT);
    else if (response.ok) await cache.put(PAGE, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(PAGE);
    if (kept) return kept;
    throw error;
  }
}

async function file(request) {
  const cache = await caches.open(SHELL);
  const kept = await cache.match(request);
  if (kept && new URL(request.url).searchParams.get("v") === version) return kept;
  try {
    return await fetchInTime(request);
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}

async function picture(request) {
  return (await (await caches.open(KEPT)).match(request.url)) ?? fetch(request);
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate") {
    if (url.pathname === PAGE) event.respondWith(page(request));
  } else if (url.pathname.startsWith("/static/") || url.pathname === "/field.webmanifest") {
    event.respondWith(file(request));
  } else if (url.pathname.endsWith(".jpg")) {
    event.respondWith(picture(request));
  }
});

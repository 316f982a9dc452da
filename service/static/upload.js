// A photograph goes to the server in pieces, and goes on where the line broke (tus 1.0.0).

import { ask, Refused } from "./outbox.js";

const PIECE = 256 * 1024; // small enough to arrive over a bad line, large enough for a good one

async function digest(blob) {
  if (!crypto.subtle) return null; // not on https
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

async function begin(item, blob) {
  item.tries = (item.tries ?? 0) + 1;
  const headers = {
    "Idempotency-Key": `${item.id}-${item.tries}`,
    "Tus-Resumable": "1.0.0",
    "Upload-Length": String(blob.size),
    "Upload-Metadata": `filename ${base64(item.name)}`,
  };
  item.url = (await ask("/api/v1/uploads", { method: "POST", headers })).headers.get("Location");
  item.offset = 0;
}

// How much of it the server has; null if it has forgotten it.
async function arrived(item) {
  try {
    return Number((await ask(item.url, { method: "HEAD" })).headers.get("Upload-Offset"));
  } catch (error) {
    if (error instanceof Refused && error.problem.status === 404) return null;
    throw error;
  }
}

export async function upload(item, blob, save) {
  if (item.url) item.offset = await arrived(item);
  if (!item.url || item.offset === null) await begin(item, blob);
  await save();
  while (item.offset < blob.size) {
    const headers = {
      "Content-Type": "application/offset+octet-stream",
      "Tus-Resumable": "1.0.0",
      "Upload-Offset": String(item.offset),
    };
    const body = blob.slice(item.offset, item.offset + PIECE);
    const answer = await ask(item.url, { method: "PATCH", headers, body });
    item.offset = Number(answer.headers.get("Upload-Offset"));
    await save();
  }
  const body = { upload: item.url.split("/").pop(), taken_at: item.at, ...item.body };
  const sha256 = await digest(blob);
  if (sha256) body.sha256 = sha256;
  const headers = { "Content-Type": "application/json", "Idempotency-Key": `${item.id}-taken-${item.tries}` };
  const url = `/api/v1/field/alerts/${item.alert}/photographs`;
  return (await ask(url, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

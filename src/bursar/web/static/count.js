// Count what is pasted or dropped, a moment after it was. Of an image only the size leaves the browser, of a recording
// the length.
"use strict";
const WAIT_MS = 300;
// A recording is unpacked to tell its length: at 8 kHz, and no more than OpenAI takes in one file.
const SOUND_BYTES_MAX = 25_000_000;
const SOUND_HZ = 8_000;
const text = document.getElementById("text");
const image = document.getElementById("image");
const detail = document.getElementById("detail");
const told = document.getElementById("told");
let asked = { text: "" };
let timer = 0;
let last = 0;

function element(name, classes, content) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  made.textContent = content;
  return made;
}

function showPieces(found) {
  document.getElementById("pieces-card").hidden = !found;
  if (!found) return;
  const more = found.tokens - found.pieces.length;
  document.getElementById("pieces-title").textContent =
    `${found.tokens.toLocaleString("en")} pieces of ${found.vocabulary}` + (more > 0 ? ", the first of them" : "");
  document.getElementById("pieces").replaceChildren(
    ...found.pieces.map((piece, place) => element("span", `piece-${place % 5}`, piece)),
  );
}

function row(found) {
  const made = document.createElement("tr");
  const name = element("td", "name", "");
  name.append(element("span", "", found.model));
  name.title = found.model;
  const about = found.error_pct === null ? "" : `±${found.error_pct} %`;
  const tokens = element("td", "n", found.tokens === null ? "–" : found.tokens.toLocaleString("en"));
  if (about) tokens.append(" ", element("small", "quiet", about));
  const usd = found.usd === null ? "–" : `$${Number(found.usd).toPrecision(3)}`;
  const million = found.usd === null ? "–" : `$${Math.round(Number(found.usd) * 1e6).toLocaleString("en")}`;
  const money = element("td", "n money", usd);
  if (found.usd !== null) money.title = `$${found.usd}, by ${found.price_id}`;
  const how = element("td", "wide quiet how", found.how || found.why);
  if (found.source) how.title = found.source;
  made.append(name, tokens, money, element("td", "n money wide", million), how);
  return made;
}

async function count() {
  const number = ++last;
  const is_empty = asked.text === "";
  told.classList.remove("warn");
  if (is_empty) {
    told.textContent = "";
    for (const name of ["pieces-card", "models-card"]) document.getElementById(name).hidden = true;
    return;
  }
  told.textContent = "counting";
  try {
    const response = await fetch("/api/count", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...asked, detail: detail.value }),
      cache: "no-store",
    });
    const found = await response.json();
    if (number !== last) return;
    if (!response.ok) throw new Error(found.detail ?? found.error?.message ?? String(response.status));
    told.textContent = { image: `${found.width_px} x ${found.height_px} pixels`, audio: `${found.milliseconds / 1_000} s` }[found.kind] ?? "";
    showPieces(found.pieces);
    document.getElementById("models").replaceChildren(...found.models.map(row));
    document.getElementById("models-card").hidden = false;
  } catch (error) {
    if (number !== last) return;
    told.classList.add("warn");
    told.textContent = error.message;
  }
}

async function sizeOf(file) {
  const bitmap = await createImageBitmap(file);
  const size = { width_px: bitmap.width, height_px: bitmap.height };
  bitmap.close();
  return size;
}

async function lengthOf(file) {
  const context = new OfflineAudioContext(1, 1, SOUND_HZ);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  return { milliseconds: Math.ceil(sound.duration * 1_000) };
}

function warn(message) {
  told.classList.add("warn");
  told.textContent = message;
}

async function take(file) {
  const isSound = file.type.startsWith("audio/");
  if (isSound && file.size > SOUND_BYTES_MAX) {
    warn(`this recording has more than ${SOUND_BYTES_MAX / 1e6} MB: bursar count reads it`);
    return;
  }
  try {
    asked = await (isSound ? lengthOf(file) : sizeOf(file));
  } catch {
    warn(`this is no ${isSound ? "recording" : "image"} the browser can read`);
    return;
  }
  text.value = "";
  await count();
}

text.addEventListener("input", () => {
  asked = { text: text.value };
  image.value = "";
  clearTimeout(timer);
  timer = setTimeout(count, WAIT_MS);
});
detail.addEventListener("change", count);
image.addEventListener("change", () => image.files[0] && take(image.files[0]));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const file = event.dataTransfer.files[0];
  if (file) take(file);
});

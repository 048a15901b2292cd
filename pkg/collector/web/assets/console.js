// What the console does with script: theme, live lists, time that is left,
// keys, terminals. Pages are whole without it.
"use strict";

const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it holds for this page */ }
});

document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }); // on a phone

// The entry that keys act on stays the same one while the list changes.
let chosen = null;
const entries = () => [...document.querySelectorAll("#live [data-key]")];

function choose(key, scroll) {
  chosen = key;
  for (const e of entries()) {
    const on = e.dataset.key === key;
    e.classList.toggle("chosen", on);
    if (on && scroll) e.scrollIntoView({ block: "nearest" });
  }
}

// A list that somebody is typing into waits for them.
function replace(live, html) {
  const busy = live.contains(document.activeElement) && document.activeElement.matches("input");
  if (busy && document.activeElement.value !== "") {
    live.dataset.late = html;
    return;
  }
  const focused = busy ? document.activeElement.id : "";
  const next = new DOMParser().parseFromString(html, "text/html");
  live.replaceChildren(...next.body.childNodes);
  delete live.dataset.late;
  if (chosen) choose(chosen, false);
  if (focused) document.getElementById(focused)?.focus();
  left();
}

const live = document.getElementById("live");
if (live?.dataset.live) {
  const source = new EventSource(live.dataset.live);
  source.onmessage = (e) => replace(live, e.data);
  live.addEventListener("focusout", () => { if (live.dataset.late) replace(live, live.dataset.late); });
}

function left() {
  for (const e of document.querySelectorAll("[data-until]")) {
    const s = Math.round((Date.parse(e.dataset.until) - Date.now()) / 1000);
    const text = s <= 0 ? "over" : s < 120 ? `${s} s left` : s < 7200 ? `${Math.floor(s / 60)} min left` : `${Math.floor(s / 3600)} h left`;
    for (const out of e.querySelectorAll("[data-left]")) out.textContent = text;
    e.classList.toggle("urgent", s < 60);
  }
}
left();
setInterval(left, 1000);

function move(by) {
  const all = entries();
  if (!all.length) return;
  const at = all.findIndex((e) => e.dataset.key === chosen);
  choose(all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))].dataset.key, true);
}

// a and d only bring the person to the button: Enter presses it.
function ready(decision) {
  const scope = chosen ? entries().find((e) => e.dataset.key === chosen) : document;
  scope?.querySelector(`.vote button[value="${decision}"]`)?.focus();
}

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, textarea, select")) return;
  switch (e.key) {
    case "j": move(1); break;
    case "k": move(-1); break;
    case "a": ready("approve"); break;
    case "d": ready("deny"); break;
    case "/": document.querySelector("input[type=search]")?.focus(); break;
    case "Enter": {
      if (e.target !== document.body && e.target.id !== "main" || !chosen) return;
      entries().find((x) => x.dataset.key === chosen)?.querySelector("a")?.click();
      break;
    }
    default: return;
  }
  e.preventDefault();
});

addEventListener("load", () => {
  for (const e of document.querySelectorAll("[data-cast]")) {
    AsciinemaPlayer.create(e.dataset.cast, e, { fit: "width", idleTimeLimit: 2, preload: true, terminalFontFamily: "ui-monospace, monospace" });
  }
});

// The pages work without this script. With it, moments are in the reader's zone, the figures stay up to date, and
// the search suggests users as one types.
"use strict";

const html = document.documentElement;
html.classList.add("scripted");

// Moments. The database's clock counts, because the reader's own may be wrong.
let ahead = 0;
const readClock = () => {
  const now = document.getElementById("now");
  if (now) ahead = new Date(now.value).getTime() - Date.now();
};
const language = navigator.language.startsWith("en") ? navigator.language : "en-GB";
const whole = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "long" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const units = [["year", 31556952], ["month", 2629746], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const ago = (at) => {
  const seconds = Math.round((at - Date.now() - ahead) / 1000);
  const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return relative.format(Math.trunc(seconds / length), unit);
};
const tell = (root = document) => {
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    time.title = whole.format(at);
    const text = ago(at.getTime());
    if (time.textContent !== text) time.textContent = text;
  }
};
readClock();
tell();
setInterval(() => tell(), 20_000);

// Live figures, while somebody looks.
const live = document.getElementById("live");
if (live) {
  let timer;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, live.querySelector("[data-again]") ? 1_000 : 8_000);
  };
  const refresh = async () => {
    if (document.hidden) return; // The next look starts it again.
    try {
      const answer = await fetch(live.dataset.live, { headers: { "x-console-poll": "1" }, redirect: "error" });
      const text = await answer.text();
      if (answer.ok) replace(text);
      else warn(answer.status === 401 || answer.status === 403
        ? "You are not logged in any more. Load the page again."
        : "The figures cannot be refreshed: the database does not answer. They are those of the last time.");
    } catch {
      warn("The figures cannot be refreshed: the server does not answer. They are those of the last time.");
    }
    later();
  };
  const replace = (text) => {
    // Whoever reads a table, or has selected a text, goes on undisturbed.
    const open = [...live.querySelectorAll("details[open]")].map((details) => details.id);
    if (!getSelection().isCollapsed && live.contains(getSelection().anchorNode)) return;
    const focused = live.contains(document.activeElement) ? document.activeElement : null;
    if (focused && !focused.matches("summary")) return;
    const place = focused?.closest("details")?.id;
    const scrolled = new Map(open.map((id) => [id, document.querySelector(`#${id} .scroll`).scrollTop]));
    live.innerHTML = text;
    for (const id of open) {
      const details = document.getElementById(id);
      if (!details) continue;
      details.open = true;
      details.querySelector(".scroll").scrollTop = scrolled.get(id);
    }
    if (place) document.querySelector(`#${place} summary`)?.focus();
    readClock();
    tell(live);
  };
  const warn = (text) => {
    let note = document.getElementById("stale");
    if (!note) {
      note = document.createElement("p");
      note.id = "stale";
      note.className = "note";
      note.setAttribute("role", "status");
      live.prepend(note);
    }
    if (note.textContent !== text) note.textContent = text;
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  later();
}

// Suggestions: a combobox with a list, as the ARIA Authoring Practices describe it.
const form = document.querySelector("form.search");
if (form) {
  const input = form.querySelector("input");
  const list = form.querySelector("ul");
  const status = form.querySelector("[role=status]");
  let timer;
  let request;
  let chosen = -1;
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-expanded", "false");

  const options = () => [...list.children];
  const close = () => {
    request?.abort();
    clearTimeout(timer);
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    choose(-1);
  };
  const choose = (index) => {
    chosen = index;
    options().forEach((option, at) => option.setAttribute("aria-selected", String(at === index)));
    if (index < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", options()[index].id);
    options()[index].scrollIntoView({ block: "nearest" });
  };
  const suggest = async () => {
    const text = input.value;
    request?.abort();
    if (!text) { close(); status.textContent = ""; return; }
    request = new AbortController();
    try {
      const address = `${form.dataset.suggest}?${new URLSearchParams({ q: text })}`;
      const answer = await fetch(address, { signal: request.signal, headers: { "x-console-poll": "1" } });
      const found = await answer.text();
      if (!answer.ok || input.value !== text || document.activeElement !== input) return;
      list.innerHTML = found;
      options().forEach((option, at) => { option.id = `suggestion-${at}`; });
      choose(-1);
      list.hidden = list.childElementCount === 0;
      input.setAttribute("aria-expanded", String(!list.hidden));
      const count = list.childElementCount;
      status.textContent = count === 0 ? "No suggestions" : count === 1 ? "1 suggestion" : `${count} suggestions`;
    } catch {
      // Overtaken by the next letter, or no answer: the form still works.
    }
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(suggest, 80);
  });
  input.addEventListener("keydown", (event) => {
    const count = list.hidden ? 0 : list.childElementCount;
    if (event.key === "ArrowDown" && list.hidden && input.value) {
      suggest();
    } else if (event.key === "ArrowDown" && count) {
      choose(chosen + 1 < count ? chosen + 1 : -1);
    } else if (event.key === "ArrowUp" && count) {
      choose(chosen < 0 ? count - 1 : chosen - 1);
    } else if (event.key === "Enter" && count && chosen >= 0) {
      location.assign(options()[chosen].dataset.href);
    } else if (event.key === "Escape" && count) {
      close();
    } else {
      return;
    }
    event.preventDefault();
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // Keeps the focus in the field.
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[data-href]");
    if (option) location.assign(option.dataset.href);
  });
  input.addEventListener("blur", close);
  document.addEventListener("keydown", (event) => {
    const writes = event.target.closest?.("input, select, textarea, [contenteditable]");
    if (event.key === "/" && !writes && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
}

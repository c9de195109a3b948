"use strict";
const make = (tag, look, text = "") =>
  Object.assign(document.createElement(tag), { className: look, textContent: text });

// light or dark: the system's choice until the button is pressed
const theme = make("button", "theme", "◐");
theme.title = "light or dark";
theme.onclick = () => {
  const root = document.documentElement.style;
  const dark = (root.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.colorScheme = dark ? "light" : "dark";
};
document.body.append(theme);

// what a point of a chart shows when it is pointed at
const tip = make("div", "tip");
tip.hidden = true;
document.body.append(tip);
for (const title of document.querySelectorAll(".tips title")) {
  const point = title.parentNode, text = title.textContent;
  title.remove();
  if (!text) continue;
  point.setAttribute("tabindex", "0");
  const show = () => {
    tip.textContent = text;
    tip.hidden = false;
    const at = point.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(at.right + 6, innerWidth - own.width - 8);
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${Math.max(8, at.top - own.height - 6) + scrollY}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const name of ["pointerenter", "focus"]) point.addEventListener(name, show);
  for (const name of ["pointerleave", "blur"]) point.addEventListener(name, hide);
}

// the same seeds at each w: a slider, unless all are to be seen at once
for (const figure of document.querySelectorAll(".seeds")) {
  const strips = [...figure.querySelectorAll(".strip")];
  if (strips.length < 2) continue;
  const names = strips.map((strip) => strip.firstElementChild.textContent);
  const bar = make("div", "bar"), shown = make("output", ""), all = make("button", "", "show all");
  const slider = Object.assign(make("input", ""), { type: "range", min: 0, max: strips.length - 1, value: 0 });
  slider.setAttribute("aria-label", "guidance strength");
  const move = () => {
    const k = Number(slider.value);
    shown.textContent = names[k];
    strips.forEach((strip, n) => strip.classList.toggle("off", n !== k));
  };
  slider.oninput = move;
  all.onclick = () => { all.textContent = figure.classList.toggle("all") ? "show one" : "show all"; };
  bar.append(shown, slider, all);
  figure.querySelector(".where").after(bar);
  figure.classList.add("slides");
  move();
}

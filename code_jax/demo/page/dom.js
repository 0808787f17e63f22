// Elements of the page, and what is said on it.

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Not through `onclick` and its like, where what a handler returns may cancel the event.
export function on(target, types, handler) {
  for (const type of types.split(" ")) target.addEventListener(type, handler);
}

export function say(message) {
  $("message-text").textContent = message;
  $("message").hidden = !message;
}

export const said = () => $("message-text").textContent;

export function clock(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (hours) return `${hours} h ${String(minutes).padStart(2, "0")} min`;
  return minutes ? `${minutes} min ${String(whole % 60).padStart(2, "0")} s` : `${whole} s`;
}

export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// The bytes of a data URL, in base64.
export function blobOf(url) {
  const [head, data] = [url.slice(5, url.indexOf(";")), atob(url.slice(url.indexOf(",") + 1))];
  const bytes = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) bytes[i] = data.charCodeAt(i);
  return new Blob([bytes], { type: head });
}

export async function imageOf(url) {
  const image = element("img", { src: url });
  await image.decode();
  return image;
}

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

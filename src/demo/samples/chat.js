"use strict";
const [here, list, form, text] = ["here", "said", "say", "text"].map(id => document.getElementById(id));
const greeting = list.firstElementChild;
let socket, you, before, wait = 1;

function element(name, content, className) {
  const made = document.createElement(name);
  if (content !== undefined) made.textContent = content;
  if (className) made.className = className;
  return made;
}

// A colour of its own for each name.
function hueOf(name) {
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  return hue;
}

function show(said) {
  greeting.remove();
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const mine = said.device === you;
  const item = element("li", undefined, mine ? "me" : "");
  const minute = Math.floor(said.at / 60000);
  if (!before || before.device !== said.device || before.minute !== minute) {
    const who = element("div", undefined, "who");
    const name = element("b", mine ? "you" : said.device);
    name.style.setProperty("--hue", hueOf(said.device));
    who.append(name, element("time", new Date(said.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
    item.append(who);
  }
  before = { device: said.device, minute };
  item.append(element("p", said.text));
  list.append(item);
  while (list.children.length > 500) list.firstElementChild.remove();
  if (atEnd || mine) list.scrollTop = list.scrollHeight;
}

function usable(yes) {
  for (const control of form.elements) control.disabled = !yes;
}

function connect() {
  socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/talk");
  socket.onmessage = event => {
    const news = JSON.parse(event.data);
    if (news.kind === "welcome") {
      you = news.you;
      wait = 1;
      before = undefined;
      list.replaceChildren(greeting);
      usable(true);
    } else if (news.kind === "said") show(news);
    else if (news.kind === "here") here.textContent = "Here now: " + news.devices.join(", ");
  };
  socket.onclose = event => {
    usable(false);
    here.textContent = (event.reason ? "Closed: " + event.reason + ". " : "Not connected. ") + `Trying again in ${wait} s …`;
    setTimeout(connect, wait * 1000);
    wait = Math.min(wait * 2, 30);
  };
}

form.onsubmit = event => {
  event.preventDefault();
  if (text.value.trim() && socket.readyState === WebSocket.OPEN) {
    socket.send(text.value);
    text.value = "";
  }
};
connect();

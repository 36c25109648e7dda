"use strict";
const now = id => document.getElementById(id);
const clock = s => [s / 3600, s / 60 % 60, s % 60].map(n => String(Math.floor(n)).padStart(2, "0")).join(":");
const feed = new EventSource("/slow");
feed.onmessage = event => {
  const playing = JSON.parse(event.data);
  document.body.className = "live";
  now("film").textContent = playing.film;
  now("at").textContent = clock(playing.at) + " of " + clock(playing.of);
  now("done").value = playing.at / playing.of;
};
feed.onerror = () => {
  document.body.className = "";
  now("at").textContent = feed.readyState === EventSource.CLOSED ? "The feed is closed; reload to try again." : "Waiting for the feed …";
};

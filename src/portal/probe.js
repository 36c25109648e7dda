const card=document.getElementById("probe");let tries=0;
const say=(bold,rest)=>{const b=document.createElement("b");b.textContent=bold;card.replaceChildren(b," "+rest)};
const ask=()=>fetch(card.dataset.probe,{mode:"no-cors",cache:"no-store",credentials:"omit",referrerPolicy:"origin"}).then(
()=>{card.classList.add("yes");say("This device trusts it now.","Every name here opens with a lock.")},
()=>{say("Not trusted yet.","This line changes by itself once it is.");if(++tries<200)setTimeout(ask,3000)});
ask();
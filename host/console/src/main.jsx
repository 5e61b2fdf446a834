// The shell: who the caller is, the stream of the flow, and the view that the address names.

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { REFUSED_MS, get } from "./api.js";
import { Deploy } from "./deploy/deploy.jsx";
import { Errors } from "./errors.jsx";
import { Flow } from "./flow/flow.jsx";
import { Hosts } from "./hosts.jsx";
import { useCaller, useFlow, useNotices, useRoute } from "./hooks.js";
import { visible } from "./format.js";
import { dismiss } from "./notices.js";
import { currentCaller, setCaller, setToken, token } from "./session.js";
import { SignIn } from "./sign_in.jsx";
import { flow as store, health, start } from "./store.js";
import { TransformView } from "./transform/transform.jsx";
import { Boundary, Code, ProblemBox, Spoken } from "./ui.jsx";

const PAGES = [
  ["", "Flow"],
  ["deploy", "Deploy"],
  ["hosts", "Hosts"],
  ["errors", "Errors"],
];

/** Time after which the host is asked again who the caller is, once it refused the stream since a token has ended. */
const ENDED_MS = 1000;
/** Time after which it is asked again in any case: rights may be given, or taken, while the page is shown. */
const RIGHTS_MS = 60_000;
/** Longest wait for an answer about the caller: on a connection that is gone none would ever come. */
const ANSWER_MS_MAX = 60_000;

function App() {
  const { parts } = useRoute();
  const [access, setAccess] = useState({ state: "asking" });
  const isIn = access.state === "in";
  const wasIn = useRef(false);
  wasIn.current ||= isIn;
  // A spec that somebody writes outlives the token: its page stays, out of reach until the next sign-in.
  const isKept = wasIn.current && parts[0] === "deploy";
  useCaller();

  const answer = (path) => get(path, AbortSignal.timeout(ANSWER_MS_MAX));
  const ask = async () => {
    try {
      const ways = await answer("/v1/sign-in");
      try {
        setCaller(await answer("/v1/whoami"));
        setAccess({ state: "in", ways });
      } catch (problem) {
        if (problem.status !== 401) throw problem;
        setAccess({ state: "out", ways, problem: token() ? problem : null });
      }
    } catch (problem) {
      setAccess({ state: "asking", problem });
      setTimeout(ask, 2000);
    }
  };
  useEffect(() => {
    ask();
  }, []);
  // Each answer to `ask` is another `access`, so a stream that was refused is opened again.
  useEffect(() => {
    if (!isIn) return undefined;
    const end = new AbortController();
    let timer = null;
    start(end.signal).then(() => {
      if (!end.signal.aborted) timer = setTimeout(ask, store.problem?.status === 401 ? ENDED_MS : REFUSED_MS);
    });
    return () => {
      end.abort();
      clearTimeout(timer);
    };
  }, [access]);
  useEffect(() => {
    if (!isIn) return undefined;
    const end = new AbortController();
    const again = async () => {
      if (document.hidden) return;
      // The stream tells of a host that does not answer, and of a token that has ended.
      const caller = await answer("/v1/whoami").catch(() => null);
      if (!end.signal.aborted && caller && JSON.stringify(caller) !== JSON.stringify(currentCaller())) setCaller(caller);
    };
    const timer = setInterval(again, RIGHTS_MS);
    document.addEventListener("visibilitychange", again, { signal: end.signal });
    return () => {
      end.abort();
      clearInterval(timer);
    };
  }, [access]);
  useEffect(keys, []);

  const signIn = (secret) => {
    setToken(secret);
    ask();
  };
  const signOut = () => {
    setToken(null);
    setCaller(null);
    location.reload();
  };

  return (
    <>
      <a class="skip" href="#main" onClick={(event) => skip(event)}>
        Skip to the content
      </a>
      <header class="bar">
        <a class="brand" href="#/">
          Sandbar
        </a>
        <nav aria-label="Pages">
          {PAGES.map(([path, label]) => (
            <a href={`#/${path}`} aria-current={isCurrent(parts, path) ? "page" : undefined}>
              {label}
            </a>
          ))}
        </nav>
        {isIn && <Connection />}
        {isIn && access.ways.required && (
          <span class="who">
            {visible(currentCaller()?.name ?? "")}{" "}
            <button type="button" class="small" onClick={signOut}>
              Sign out
            </button>
          </span>
        )}
      </header>
      <main id="main" tabIndex={-1}>
        <Notices />
        {access.state === "asking" && (
          <p class="quiet" role="status">
            {access.problem ? `${access.problem.message}: the page tries again` : "Asking the host ..."}
          </p>
        )}
        {access.state === "out" && <SignIn ways={access.ways} problem={access.problem} signIn={signIn} />}
        {(isIn || isKept) && (
          <div inert={!isIn}>
            <Boundary key={parts.slice(0, 3).join("/")}>
              <Page parts={parts} />
            </Boundary>
          </div>
        )}
      </main>
      <Arrival title={titleOf(parts)} />
    </>
  );
}

function Page({ parts }) {
  const [first, team, name, ...rest] = parts;
  switch (first) {
    case undefined:
      return <Flow />;
    case "t":
      if (team && name) return <TransformView key={`${team}/${name}`} id={`${team}/${name}`} tab={rest[0] ?? ""} />;
      break;
    case "deploy":
      return <Deploy key={`${team}/${name}`} team={team ?? ""} name={name ?? ""} />;
    case "hosts":
      return <Hosts />;
    case "errors":
      return <Errors code={team} />;
  }
  return (
    <>
      <h1>No such page</h1>
      <p>
        The address names nothing that the console has. <a href="#/">Show the flow</a>
      </p>
    </>
  );
}

/**
 * Names the view in the title, and tells people who listen of each change. The focus goes to the new view if the element that had it
 * is gone with the one before.
 */
function Arrival({ title }) {
  const [said, say] = useState("");
  const shown = useRef(title);
  useEffect(() => {
    document.title = `${title} · Sandbar`;
    if (shown.current === title) return;
    shown.current = title;
    if (document.activeElement === document.body) document.getElementById("main").focus();
    say(title);
  }, [title]);
  return <Spoken>{said}</Spoken>;
}

/** "Flow", "orders · field-strip · logs", "Errors · E105". */
function titleOf([first = "", ...rest]) {
  const page = PAGES.find(([path]) => path === first)?.[1] ?? (first === "t" ? "" : first);
  return visible([page, ...rest].filter(Boolean).join(" · "));
}

/** What went wrong with changes whose page was left before the answer came. */
function Notices() {
  const close = (notice) => {
    dismiss(notice);
    // The button that had the focus is gone.
    document.getElementById("main").focus();
  };
  return (
    <div class="notices">
      {useNotices().map((notice) => (
        <ProblemBox key={notice.number} about={`${notice.about}: you had left when the answer came.`} problem={notice.problem}>
          <button type="button" class="small" onClick={() => close(notice)} aria-label={`Dismiss: ${notice.about}`}>
            Dismiss
          </button>
        </ProblemBox>
      ))}
    </div>
  );
}

/** The connection, in a word; and how many transforms are in trouble, on every page. */
function Connection() {
  const flow = useFlow();
  const bad = [...flow.transforms.values()].filter((transform) => health(transform) === "bad").length;
  const words = { opening: "connecting", live: "live", broken: "connection lost, trying again", refused: "refused" };
  const trouble = bad > 0 ? ", transforms are in trouble" : "";
  return (
    <span class="connection">
      <Spoken>{`${words[flow.state]}${trouble}`}</Spoken>
      {bad > 0 && <strong class="bad">■ {bad} in trouble</strong>}{" "}
      <span class={flow.state === "live" ? "live" : "warn"}>{words[flow.state]}</span>
      {flow.problem?.code && (
        <>
          {" "}
          <Code of={flow.problem.code} />
        </>
      )}
    </span>
  );
}

function isCurrent([first = ""], path) {
  return first === path || (path === "" && first === "t");
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

/** Keys that work everywhere: `/` goes to the search, `g` and a letter to a page. */
function keys() {
  let isGoing = false;
  const pages = { f: "#/", d: "#/deploy", h: "#/hosts", e: "#/errors" };
  const pressed = (event) => {
    const isTyping = event.target.closest?.("input, textarea, select, dialog") || event.ctrlKey || event.metaKey || event.altKey;
    if (isTyping) return;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) {
        event.preventDefault();
        search.focus();
      }
    } else if (isGoing && pages[event.key]) {
      location.hash = pages[event.key];
    }
    isGoing = event.key === "g";
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}

render(<App />, document.getElementById("app"));

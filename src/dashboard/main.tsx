import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { LocationProvider, lazy, Route, Router, useLocation } from "preact-iso";
import { addresses } from "./addresses.ts";
import "./dashboard.css";
import { Embedded } from "./embed.tsx";
import { SaveView } from "./save.tsx";
import {
  embeddedView,
  onSessionEnd,
  readSession,
  resume,
  type Session,
  signIn,
  signInFailure,
  signOut,
} from "./session.ts";
import { periods, useSettings, zone } from "./settings.ts";
import { texts } from "./texts.ts";

const Overview = lazy(() => import("./pages/overview.tsx"));
const Explore = lazy(() => import("./pages/explore.tsx"));
const Boards = lazy(() => import("./pages/boards.tsx"));
const ForYou = lazy(() => import("./pages/for-you.tsx"));
const Courses = lazy(() => import("./pages/courses.tsx"));
const Experiments = lazy(() => import("./pages/experiments.tsx"));
const Models = lazy(() => import("./pages/models.tsx"));
const Recommendations = lazy(() => import("./pages/recommendations.tsx"));
const Privacy = lazy(() => import("./pages/privacy.tsx"));
const Operations = lazy(() => import("./pages/operations.tsx"));
const Queries = lazy(() => import("./pages/queries.tsx"));

type Name = keyof typeof texts.pages;

/** The pages of a role; the first one is its start page. */
const pagesOf: Record<Session["role"], readonly Name[]> = {
  visitor: ["queries"],
  learner: ["forYou", "privacy", "queries"],
  instructor: ["courses", "queries"],
  analyst: ["overview", "explore", "boards", "courses", "experiments", "recommendations", "models", "queries"],
  admin: [
    "overview",
    "explore",
    "boards",
    "courses",
    "experiments",
    "recommendations",
    "models",
    "privacy",
    "operations",
    "queries",
  ],
  worker: ["queries"],
};

function Health() {
  const [state, setState] = useState<keyof typeof texts.health>("checking");
  useEffect(() => {
    const read = async (): Promise<void> => {
      try {
        const { status } = await (await fetch("/healthz")).json();
        setState(status === "ok" ? "ok" : "bad");
      } catch {
        setState("silent");
      }
    };
    void read();
    const timer = setInterval(() => {
      if (!document.hidden) void read();
    }, 30_000);
    return () => clearInterval(timer);
  }, []);
  return (
    <a class={`badge ${state === "ok" ? "good" : state === "checking" ? "" : "bad"}`} href="/healthz" target="_top">
      {texts.health[state]}
    </a>
  );
}

function Period() {
  const { days, change } = useSettings();
  return (
    <label class="period" title={texts.period.zone(zone)}>
      <span class="visually-hidden">{texts.period.label}</span>
      <select value={String(days)} onChange={({ currentTarget }) => change({ days: currentTarget.value })}>
        {periods.map((period) => (
          <option key={period} value={String(period)}>
            {texts.period.days(period)}
          </option>
        ))}
      </select>
    </label>
  );
}

function SignIn({
  problem,
  openId,
  hasEnded = false,
  onDone,
}: {
  problem: string | undefined;
  openId: boolean;
  hasEnded?: boolean;
  onDone: () => void;
}) {
  const field = useRef<HTMLInputElement>(null);
  const to = encodeURIComponent(location.pathname + location.search);
  return (
    <section class={`card sign-in ${hasEnded ? "ended" : ""}`} aria-labelledby="sign-in">
      <h2 id="sign-in">{texts.signIn.title}</h2>
      <p class="note" role={hasEnded ? "status" : undefined}>
        {hasEnded ? texts.signIn.ended : texts.signIn.lead}
      </p>
      {openId && (
        <p>
          <a class="button" href={`/sign-in?to=${to}`} target={hasEnded ? "_blank" : "_top"}>
            {texts.signIn.openId}
          </a>
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const text = field.current?.value ?? "";
          if (text.trim() === "") return;
          signIn(text);
          onDone();
        }}
      >
        <label class="visually-hidden" for="token">
          {texts.signIn.token}
        </label>
        <input
          id="token"
          ref={field}
          type="password"
          autocomplete="off"
          spellcheck={false}
          placeholder={texts.signIn.token}
        />
        <button type="submit">{texts.signIn.submit}</button>
      </form>
      {problem === undefined ? (
        !hasEnded && <p class="note">{texts.signIn.visitor}</p>
      ) : (
        <p class="note bad" role="alert">
          {problem}
        </p>
      )}
    </section>
  );
}

function NotFound() {
  return <p class="note">{texts.notFound}</p>;
}

const components: Record<Name, typeof Courses | typeof Overview> = {
  overview: Overview,
  explore: Explore,
  boards: Boards,
  forYou: ForYou,
  courses: Courses,
  experiments: Experiments,
  recommendations: Recommendations,
  models: Models,
  privacy: Privacy,
  operations: Operations,
  queries: Queries,
};

/** Pages whose figures are of a period. */
const withPeriod: ReadonlySet<Name | undefined> = new Set(["overview", "recommendations", "models", "operations"]);

/** Pages of which views are saved. */
const withViews: ReadonlySet<Name | undefined> = new Set([
  "overview",
  "explore",
  "courses",
  "experiments",
  "recommendations",
  "models",
  "operations",
]);

function Pages({ session, onSession }: { session: Session; onSession: () => void }) {
  const { path, query } = useLocation();
  const { view } = session;
  const maySave = session.role === "analyst" || session.role === "admin";
  const names = pagesOf[session.role].filter((name) => view === undefined || addresses[name] === `/${view}`);
  const current = names.find((name) => path === addresses[name]) ?? (path === "/" ? names[0] : undefined);
  const isAnonymous = session.role === "visitor";
  const navigation = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a narrow screen, the names of the pages are a row that scrolls.
    const [row, link] = [navigation.current, navigation.current?.querySelector<HTMLElement>("[aria-current]")];
    if (row && link) row.scrollLeft = link.offsetLeft - (row.clientWidth - link.offsetWidth) / 2;
    document.title = [current && texts.pages[current], texts.product].filter(Boolean).join(" – ");
  }, [current]);
  return (
    <>
      <a class="skip" href="#content" target="_self">
        {texts.skip}
      </a>
      <header class="shell">
        <a class="brand" href="/">
          <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
            <rect width="32" height="32" rx="8" />
            <path d="M6 22c5 0 5-12 10-12s5 8 10 4" />
          </svg>
          <span>{texts.product}</span>
        </a>
        <nav ref={navigation}>
          {names.map((name) => (
            <a key={name} href={addresses[name]} aria-current={name === current ? "page" : undefined}>
              {texts.pages[name]}
            </a>
          ))}
        </nav>
        <div class="aside">
          {withPeriod.has(current) && <Period />}
          <Health />
          {!isAnonymous && (
            <span class="who">
              <span id="who">{texts.signIn.as(session.person, session.role)}</span>
              <button type="button" class="quiet" onClick={() => void signOut().finally(onSession)}>
                {texts.signIn.out}
              </button>
            </span>
          )}
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        <h1 class={current === undefined ? "visually-hidden" : ""}>{current ? texts.pages[current] : texts.product}</h1>
        {isAnonymous && <SignIn problem={session.problem} openId={session.openId} onDone={onSession} />}
        <Router>
          {names.map((name) => (
            <Route key={name} path={addresses[name]} component={components[name]} session={session} />
          ))}
          <Route path="/" component={components[names[0] ?? "queries"]} session={session} />
          <Route default component={NotFound} />
        </Router>
        {maySave && withViews.has(current) && query["view"] !== "timeline" && <SaveView key={current} />}
      </main>
    </>
  );
}

function App() {
  const [session, setSession] = useState<Session>();
  const [failed, setFailed] = useState(false);
  const [hasEnded, setEnded] = useState(false);
  const [problem, setProblem] = useState<string>();
  const state = useRef<{ session?: Session; hasEnded: boolean }>({ hasEnded: false });
  const enter = async (): Promise<void> => {
    setFailed(false);
    try {
      const next = await readSession();
      const before = state.current;
      if (before.hasEnded && next.role === "visitor") {
        // The page stays as it is until somebody has signed in.
        setProblem(next.problem);
        return;
      }
      const isSame = before.session?.role === next.role && before.session.person === next.person;
      state.current = { session: next, hasEnded: false };
      setEnded(false);
      setProblem(undefined);
      setSession(
        signInFailure && next.role === "visitor" ? { problem: texts.signIn.failures[signInFailure], ...next } : next,
      );
      resume(isSame);
    } catch {
      setFailed(true);
    }
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, at the start.
  useEffect(() => {
    onSessionEnd(() => {
      state.current.hasEnded = true;
      setEnded(true);
    });
    // A sign-in in another tab.
    addEventListener("focus", () => {
      if (state.current.hasEnded) void enter();
    });
    void enter();
  }, []);
  if (failed && session === undefined) {
    return (
      <main>
        <p class="note bad" role="alert">
          {texts.signIn.unreachable}
        </p>
        <button type="button" onClick={() => void enter()}>
          {texts.signIn.again}
        </button>
      </main>
    );
  }
  if (session === undefined) return <div class="skeleton" role="status" aria-label={texts.card.loading} />;
  return (
    <>
      {hasEnded && <SignIn problem={problem} openId={session.openId} hasEnded onDone={() => void enter()} />}
      <LocationProvider>
        <Pages key={`${session.role} ${session.person}`} session={session} onSession={() => void enter()} />
      </LocationProvider>
    </>
  );
}

const place = document.getElementById("app");
const views = Object.fromEntries(
  Object.entries(components).map(([name, page]) => [addresses[name as Name].slice(1), page]),
);
if (place !== null) render(embeddedView === undefined ? <App /> : <Embedded components={views} />, place);

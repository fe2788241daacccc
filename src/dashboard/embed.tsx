import type { FunctionComponent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { LocationProvider } from "preact-iso";
import { embeddedView, onSessionEnd, readSession, resume, type Session, signIn } from "./session.ts";
import { texts } from "./texts.ts";

/*
 * A page within another site. The site hands over a token by `postMessage`; the message counts if it comes from the window
 * that contains the page, and from an origin of INSIGHTS_EMBED_ORIGINS. Answers go to this origin alone; before it is known,
 * the only message is that the page is ready.
 */

export interface TokenMessage {
  type: "insights:token";
  token: string;
}

export type PageMessage =
  | { type: "insights:ready" }
  | { type: "insights:token-needed" }
  | { type: "insights:height"; height: number };

/** Links to other pages are opened in a tab of their own, since they may not be contained. */
function openLinksElsewhere(event: Event): void {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (link?.href && new URL(link.href).pathname !== location.pathname) {
    link.target = "_blank";
    link.rel = "noopener";
  }
}

export function Embedded({
  components,
}: {
  components: Readonly<Record<string, FunctionComponent<{ session: Session }>>>;
}) {
  const [session, setSession] = useState<Session>();
  const current = useRef<Session | undefined>(undefined);
  const place = useRef<HTMLElement>(null);
  const owner = useRef<string | undefined>(undefined);
  const post = (message: PageMessage): void => {
    if (owner.current !== undefined) parent.postMessage(message, owner.current);
  };

  // biome-ignore lint/correctness/useExhaustiveDependencies: once, at the start.
  useEffect(() => {
    let origins: readonly string[] = [];
    const take = async ({ source, origin, data }: MessageEvent): Promise<void> => {
      if (source !== parent || !origins.includes(origin)) return;
      const { type, token } = (typeof data === "object" && data !== null ? data : {}) as Partial<TokenMessage>;
      if (type !== "insights:token" || typeof token !== "string" || token.length > 10_000) return;
      owner.current = origin;
      signIn(token);
      const next = await readSession();
      const before = current.current;
      if (before !== undefined && next.problem !== undefined) {
        // Not at once, in case the site has no better one.
        setTimeout(() => post({ type: "insights:token-needed" }), 5000);
        return;
      }
      current.current = next;
      resume(before !== undefined && before.role === next.role && before.person === next.person);
      setSession(next);
    };
    const listen = (event: MessageEvent): void => void take(event);
    addEventListener("message", listen);
    document.addEventListener("click", openLinksElsewhere, true);
    onSessionEnd(() => post({ type: "insights:token-needed" }));
    void readSession().then(({ embedOrigins }) => {
      origins = embedOrigins;
      parent.postMessage({ type: "insights:ready" } satisfies PageMessage, "*");
    });
    return () => removeEventListener("message", listen);
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the element is the same.
  useEffect(() => {
    if (place.current === null) return;
    const observer = new ResizeObserver(([entry]) => {
      const height = Math.ceil(entry?.borderBoxSize[0]?.blockSize ?? 0);
      if (height > 0) post({ type: "insights:height", height });
    });
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [session === undefined]);

  const Page = components[embeddedView ?? ""];
  const isAllowed = session?.view === undefined || session.view === embeddedView;
  return (
    <main id="content" class="embedded" ref={place}>
      {session === undefined ? (
        <div class="skeleton" role="status" aria-label={texts.card.loading} />
      ) : session.problem !== undefined || !isAllowed || Page === undefined ? (
        <p class="note bad" role="alert">
          {session.problem ?? texts.notFound}
        </p>
      ) : (
        <LocationProvider>
          <h1 class="visually-hidden">{texts.product}</h1>
          <Page key={`${session.role} ${session.person}`} session={session} />
        </LocationProvider>
      )}
    </main>
  );
}

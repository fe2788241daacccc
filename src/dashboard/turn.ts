import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** The number of cards in view that have no answer yet. */
let pending = 0;
const waiting = new Set<() => void>();

function settle(): void {
  if (pending > 0) return;
  for (const start of waiting) start();
  waiting.clear();
}

/**
 * Whether a card may be loaded: at once if it is in view when the page is opened, and otherwise when those in view have
 * their figures, which so do not wait for the others.
 */
export function useTurn(place: RefObject<HTMLElement | null>, hasAnswer: boolean): boolean {
  const [isDue, setDue] = useState(false);
  const isCounted = useRef(false);
  const finish = useRef((): void => {
    if (!isCounted.current) return;
    isCounted.current = false;
    pending -= 1;
    settle();
  });
  useLayoutEffect(() => {
    const start = (): void => setDue(true);
    if ((place.current?.getBoundingClientRect().top ?? 0) < innerHeight) {
      isCounted.current = true;
      pending += 1;
      start();
    } else {
      waiting.add(start);
      // After the other cards of the page have been counted.
      setTimeout(settle);
    }
    return () => {
      waiting.delete(start);
      finish.current();
    };
  }, [place]);
  useEffect(() => {
    if (hasAnswer) finish.current();
  }, [hasAnswer]);
  return isDue;
}

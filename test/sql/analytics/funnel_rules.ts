/**
 * PostHog's funnel for one person, written from its rules: a state for each step, which each event changes in turn.
 * The functions in SQL are compared with it.
 */
export interface Happened {
  at: number;
  event: string;
  item: string;
  plan: string | null;
}

export interface StepFilter {
  event: string | null;
  item?: string;
  plan?: string;
  optional?: boolean;
}

export interface Exclusion extends StepFilter {
  from: number;
  to: number;
}

export interface Funnel {
  steps: StepFilter[];
  exclusions: Exclusion[];
  order: "ordered" | "strict" | "unordered";
  /** Milliseconds. */
  window: number;
}

export interface Attempt {
  reached: number;
  isExcluded: boolean;
  /** The time of each step, null where it was not done; of an unordered funnel those of the steps that were done. */
  times: (number | null)[];
}

const NONE: Attempt = { reached: 0, isExcluded: false, times: [] };

export const matches = (one: Happened, filter: StepFilter): boolean =>
  (filter.event === null || one.event === filter.event) &&
  (filter.item === undefined || one.item === filter.item) &&
  (filter.plan === undefined || one.plan === filter.plan);

interface State {
  start: number;
  isTainted: boolean;
  path: (Happened | null)[];
}

interface Marked {
  event: Happened;
  steps: number[];
  exclusions: number[];
}

const bits = (steps: readonly number[]): number => steps.reduce((sum, step) => sum + 2 ** step, 0);

/** `matching` replaces the steps of an event, for the attribution of a breakdown and for a bucket. */
export function attempt(
  events: Happened[],
  funnel: Funnel,
  matching: (one: Happened) => number[] = (one) =>
    funnel.steps.flatMap((filter, index) => (matches(one, filter) ? [index + 1] : [])),
): Attempt {
  const marked: Marked[] = events
    .map((event) => ({
      event,
      steps: matching(event),
      exclusions: funnel.exclusions.flatMap((filter) =>
        matches(event, filter)
          ? Array.from({ length: filter.to - filter.from }, (_, index) => filter.from + 1 + index)
          : [],
      ),
    }))
    .filter(({ steps, exclusions }) => funnel.order === "strict" || steps.length > 0 || exclusions.length > 0)
    .sort(
      (one, other) =>
        one.event.at - other.event.at ||
        Number(one.steps.length > 0) - Number(other.steps.length > 0) ||
        // An event of fewer steps is the earlier step, so that one of more steps remains for a later one.
        bits(one.steps) - bits(other.steps) ||
        bits(one.exclusions) - bits(other.exclusions),
    );
  return funnel.order === "unordered" ? unordered(marked, funnel) : ordered(marked, funnel);
}

function ordered(marked: Marked[], funnel: Funnel): Attempt {
  const count = funnel.steps.length;
  const states: (State | undefined)[] = [];
  let best: Attempt & { start: number } = { ...NONE, start: 0 };
  const inWindow = (state: State | undefined, at: number): state is State =>
    state !== undefined && at - state.start <= funnel.window;

  function take(one: Happened, step: number, isExclusion: boolean, isTie: boolean): void {
    let previous = step - 1;
    const stateOf = (number: number): State | undefined =>
      number === 0 ? { start: one.at, isTainted: false, path: [] } : states[number];
    while (previous > 0 && !inWindow(stateOf(previous), one.at) && funnel.steps[previous - 1]?.optional) previous -= 1;
    const from = stateOf(previous);
    if (!inWindow(from, one.at) || states[step]?.start === from.start) return;
    if (isExclusion) {
      if (previous === 0) return;
      from.isTainted = true;
      if (best.reached === previous && one.at - best.start <= funnel.window) best.isExcluded = true;
      return;
    }
    if (isTie && from.path.includes(one)) return;
    const path = [...from.path];
    while (path.length < step - 1) path.push(null);
    path.push(one);
    const next = { start: from.start, isTainted: from.isTainted, path };
    if (!from.isTainted) states[step] = next;
    if (step > best.reached || (step === best.reached && best.isExcluded)) {
      best = {
        reached: step,
        isExcluded: from.isTainted,
        start: from.start,
        times: funnel.steps.map((_, index) => path[index]?.at ?? null),
      };
    }
  }

  for (let first = 0; first < marked.length; ) {
    const at = (marked[first] as Marked).event.at;
    let end = first;
    while (marked[end]?.event.at === at) end += 1;
    const group = marked.slice(first, end);
    first = end;
    const kinds = new Set(group.map(({ steps, exclusions }) => JSON.stringify([steps, exclusions])));
    if (kinds.size > 1) {
      for (let step = 1; step <= count; step += 1)
        for (const { event, steps } of group) if (steps.includes(step)) take(event, step, false, true);
    } else {
      for (const { event, steps, exclusions } of group) {
        for (let step = count; step >= 1; step -= 1) {
          if (exclusions.includes(step)) take(event, step, true, false);
          if (steps.includes(step)) take(event, step, false, false);
        }
        if (funnel.order === "strict")
          for (let step = 1; step <= count; step += 1) if (!steps.includes(step)) states[step] = undefined;
      }
    }
    if (states[count] !== undefined) break;
  }
  return { reached: best.reached, isExcluded: best.isExcluded, times: best.times };
}

function unordered(marked: Marked[], funnel: Funnel): Attempt {
  const count = funnel.steps.length;
  let queues: Happened[][] = funnel.steps.map(() => []);
  let best: Attempt = NONE;
  const done = (): number => queues.filter((queue) => queue.length > 0).length;
  const note = (): void => {
    if (done() > best.reached)
      best = {
        reached: done(),
        isExcluded: false,
        times: queues.flatMap((queue) => (queue[0] === undefined ? [] : [queue[0].at])).sort((a, b) => a - b),
      };
  };
  for (const { event, steps } of marked) {
    for (;;) {
      const fronts = queues.flatMap((queue) => (queue[0] === undefined ? [] : [queue[0].at]));
      const oldest = Math.min(...fronts);
      if (fronts.length === 0 || (done() < count && oldest + funnel.window >= event.at)) break;
      note();
      queues.find((queue) => queue[0]?.at === oldest)?.shift();
    }
    if (best.reached === count) break;
    if (steps.length === 0) {
      if (best.reached === 0 && done() > 0)
        best = { reached: 1, isExcluded: false, times: [Math.min(...queues.map((queue) => queue[0]?.at ?? Infinity))] };
      queues = funnel.steps.map(() => []);
      continue;
    }
    const age = (step: number): number => queues[step - 1]?.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
    const chosen = steps.reduce((one, other) => (age(other) < age(one) ? other : one));
    queues[chosen - 1]?.push(event);
  }
  note();
  return best;
}

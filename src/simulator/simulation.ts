import { createHash } from "node:crypto";
import { type Enrolment, Life, type Session, visits } from "./behaviour.ts";
import { buildCatalogue, type Catalogue } from "./catalogue.ts";
import { type Delivery, deliver } from "./delivery.ts";
import type { Variation } from "./experiment.ts";
import { Heap } from "./heap.ts";
import { buildDevice, buildLearner, type Learner } from "./learners.ts";
import { type Options, startOf } from "./options.ts";
import { Random } from "./random.ts";

/** A true session as it is recorded, without its messages. */
export interface TrueSession extends Pick<Session, "person" | "startedAt" | "endedAt"> {
  anonymousId: string;
  deviceKind: string;
  /** Milliseconds. */
  clockSkew: number;
  events: number;
  views: number;
  engagedSeconds: number;
}

/** The true attention that an item got. */
export interface Attention {
  views: number;
  people: Set<string>;
  seconds: number;
}

/**
 * A seeded Canvas Flow population.
 *
 * `deliveries` streams the deliveries to a server in the order of arrival; sessions, enrolments and attention are
 * complete when it has ended. The same options and variations give the same bytes.
 */
export class Simulation {
  readonly options: Options;
  /** Distinguishes populations: a part of every message id. */
  readonly id: string;
  readonly catalogue: Catalogue;
  readonly learners: Learner[];
  /** By learner, to be filled before the deliveries; learners without one take no part in the experiment. */
  readonly variations = new Map<string, Variation>();
  readonly sessions: TrueSession[] = [];
  readonly enrolments: Enrolment[] = [];
  readonly attention = new Map<string, Attention>();

  constructor(options: Options) {
    this.options = options;
    const { learners, courses, weeks, seed, until } = options;
    this.id = createHash("sha256")
      .update(JSON.stringify([learners, courses, weeks, seed, until]))
      .digest("hex")
      .slice(0, 8);
    this.catalogue = buildCatalogue(options);
    this.learners = Array.from({ length: learners }, (_, index) => buildLearner(index, options));
  }

  /**
   * Merges the learners' sessions. Memory holds one session of each learner and the pending deliveries: a delivery is
   * emitted when no later session starts before it.
   */
  *deliveries(): Generator<Delivery> {
    const end = this.options.until.getTime();
    const lives = new Heap<Stream>((a, b) => a.next.startedAt - b.next.startedAt || a.order - b.order);
    const underWay = new Heap<Delivery & { order: number }>((a, b) => a.receivedAt - b.receivedAt || a.order - b.order);
    for (const stream of this.#streams()) lives.push(stream);
    let order = 0;
    for (let stream = lives.pop(); stream !== undefined; stream = lives.pop()) {
      const { next, rest, random } = stream;
      while ((underWay.peek()?.receivedAt ?? Number.POSITIVE_INFINITY) <= next.startedAt) {
        const delivery = underWay.pop();
        if (delivery !== undefined) yield delivery;
      }
      this.#note(next);
      for (const delivery of deliver(next, end, random)) {
        underWay.push({ ...delivery, order });
        order += 1;
      }
      const following = rest.next();
      if (following.done !== true) lives.push({ ...stream, next: following.value });
    }
    for (let delivery = underWay.pop(); delivery !== undefined; delivery = underWay.pop()) yield delivery;
    for (const enrolment of this.enrolments) settle(enrolment, end);
  }

  *#streams(): Generator<Stream> {
    const { options, catalogue, id } = this;
    for (const learner of this.learners) {
      const random = new Random(`canvas flow/${options.seed}/life/${learner.index}`);
      const ids = counter(`${id}-${learner.index.toString(36)}`);
      const life = new Life(learner, catalogue, options, random, ids, this.variations.get(learner.externalId));
      const rest = life.sessions();
      const first = rest.next();
      if (first.done !== true) {
        yield {
          next: first.value,
          rest: this.#collect(rest, life),
          order: learner.index,
          random: random.fork("network"),
        };
      }
    }
    const visitors = Math.round(0.15 * options.learners);
    for (let index = 0; index < visitors; index += 1) {
      const random = new Random(`canvas flow/${options.seed}/visitor/${index}`);
      const device = buildDevice(`visitor~${index + 1}`, random.chance(0.5) ? "laptop" : "phone", random);
      const rest = visits(device, catalogue, options, random, counter(`${id}-v${index.toString(36)}`));
      const first = rest.next();
      if (first.done !== true) {
        const order = options.learners + index;
        yield { next: first.value, rest, order, random: random.fork("network") };
      }
    }
  }

  /** The sessions of one learner; the enrolments are taken over at the end. */
  *#collect(sessions: Generator<Session>, life: Life): Generator<Session> {
    yield* sessions;
    this.enrolments.push(...life.enrolments);
  }

  #note({ person, device, startedAt, endedAt, views, occurrences }: Session): void {
    for (const { item, seconds } of views) {
      let attention = this.attention.get(item);
      if (attention === undefined) {
        attention = { views: 0, people: new Set(), seconds: 0 };
        this.attention.set(item, attention);
      }
      attention.views += 1;
      attention.people.add(person ?? device.anonymousId);
      attention.seconds += seconds;
    }
    this.sessions.push({
      person,
      startedAt,
      endedAt,
      anonymousId: device.anonymousId,
      deviceKind: device.kind,
      clockSkew: device.skew,
      events: occurrences.filter(({ body }) => body.type !== "identify").length,
      views: views.length,
      engagedSeconds: views.reduce((sum, { seconds }) => sum + seconds, 0),
    });
  }

  get start(): number {
    return startOf(this.options);
  }
}

interface Stream {
  next: Session;
  rest: Generator<Session>;
  order: number;
  random: Random;
}

/** A learner who gave up within the simulated time has dropped out, reported or not. */
function settle(enrolment: Enrolment, end: number): void {
  if (enrolment.completedAt === undefined && enrolment.givesUpAt < end) enrolment.droppedAt = enrolment.givesUpAt;
}

function counter(prefix: string): () => string {
  let count = 0;
  return () => {
    count += 1;
    return `${prefix}-${count.toString(36)}`;
  };
}

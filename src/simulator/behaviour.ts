import type { Message } from "../importer/message.ts";
import { instantOf, wallClockOf } from "../importer/time-zone.ts";
import { type Catalogue, type Course, type Module, opensForEnrolment, type Step } from "./catalogue.ts";
import { beginning, EXPERIMENT, type Variation, WATCHED_TO_END } from "./experiment.ts";
import type { Device, Learner } from "./learners.ts";
import { DAY, type Options, WEEK } from "./options.ts";
import { clamp, dot, type Random, sigmoid } from "./random.ts";

/** Seconds of activity before the first heartbeat of a view, and between the following ones (Snowplow's defaults). */
export const FIRST_HEARTBEAT = 5;
export const HEARTBEAT = 10;
/**
 * The sessions of a person are at least this far apart, and no pause within a session is longer than the other value.
 */
export const REST = 3_600_000;
export const LONGEST_PAUSE = 15 * 60_000;

/** An event at its true time, before it is changed by a client's clock and a network. */
export interface Occurrence {
  at: number;
  signedIn: boolean;
  messageId: string;
  body: Pick<Message, "type" | "event" | "name" | "properties" | "traits" | "context">;
}

export interface Session {
  /** The learner's external id; null for visitors who never sign in. */
  person: string | null;
  device: Device;
  startedAt: number;
  endedAt: number;
  /**
   * The page views in order, each with its seconds of true activity, of which heartbeats can show all but the last ten.
   */
  views: { item: string; seconds: number }[];
  occurrences: Occurrence[];
}

export interface Enrolment {
  person: string;
  course: Course;
  enrolledAt: number;
  /** The probability of giving up in any one week. */
  weeklyHazard: number;
  /** The time at which the learner gives up, unless the course is completed before. */
  givesUpAt: number;
  completedAt: number | undefined;
  droppedAt: number | undefined;
  rating: number | undefined;
  nextStep: number;
  attempts: number;
  /** Whether the learner reports having given up, and when that happened. */
  reports: boolean;
  reportedAt: number | undefined;
}

/** Similarity of a learner's preferences and a course's topics, from 0 to 1. */
export function match(learner: Learner, course: Course): number {
  return dot(learner.tastes, course.topics);
}

/** The weekly probability of giving up: ability, engagement and interest lower it, difficulty raises it. */
export function weeklyHazard(learner: Learner, course: Course): number {
  return sigmoid(
    -1.9 -
      0.7 * learner.ability -
      0.6 * Math.log(learner.engagement) +
      0.6 * course.difficulty -
      1.5 * match(learner, course),
  );
}

/** The attraction of a course for a learner. */
function draw(learner: Learner, course: Course): number {
  return Math.exp(5 * match(learner, course) + course.appeal);
}

/** Collects one session; `now` advances with the events. */
class SessionRecorder {
  now: number;
  signedIn: boolean;
  readonly occurrences: Occurrence[] = [];
  readonly views: Session["views"] = [];
  readonly #random: Random;
  readonly #ids: () => string;
  #seesVariation = false;

  constructor(start: number, signedIn: boolean, random: Random, ids: () => string) {
    this.now = start;
    this.signedIn = signedIn;
    this.#random = random;
    this.#ids = ids;
  }

  add(body: Occurrence["body"], at = this.now): void {
    this.occurrences.push({ at, signedIn: this.signedIn, messageId: this.#ids(), body });
  }

  track(event: string, item: string, properties: Record<string, unknown> = {}): void {
    this.add({ type: "track", event, properties: { item, ...properties } });
  }

  /** A page view with its activity. */
  view(page: { externalId: string; title: string; url: string }, seconds: number): void {
    const viewId = this.#ids();
    this.add({ type: "page", properties: { item: page.externalId, url: page.url, title: page.title, viewId } });
    for (let after = FIRST_HEARTBEAT; after <= seconds; after += HEARTBEAT) {
      const properties = { item: page.externalId, viewId };
      this.add({ type: "track", event: "Heartbeat", properties }, this.now + after * 1_000);
    }
    this.#attend(page.externalId, seconds);
  }

  watch(video: Step, seconds: number): void {
    const viewId = this.#ids();
    const properties = { item: video.externalId, viewId };
    this.add({ type: "page", properties: { ...properties, url: video.url, title: video.title } });
    const start = this.now;
    this.add({ type: "track", event: "Video Playback Started", properties }, start + 1_000);
    for (let after = FIRST_HEARTBEAT; after <= seconds; after += HEARTBEAT) {
      const position = Math.min(after, video.seconds);
      this.add(
        { type: "track", event: "Video Content Playing", properties: { ...properties, position } },
        start + after * 1_000,
      );
    }
    this.#attend(video.externalId, seconds);
    if (seconds >= video.seconds) this.add({ type: "track", event: "Video Playback Completed", properties });
  }

  /** A client of the experiment reports the variation that it applies, once in a session. */
  expose(variation: Variation): void {
    if (this.#seesVariation) return;
    this.#seesVariation = true;
    const properties = { experimentId: EXPERIMENT.key, variationId: variation };
    this.add({ type: "track", event: "Experiment Viewed", properties });
  }

  /** A pause without activity: usually seconds, sometimes minutes. */
  pause(): void {
    const random = this.#random;
    const seconds = random.chance(0.06) ? random.logNormal(240, 0.6) : random.logNormal(4, 0.7);
    this.now += Math.min(LONGEST_PAUSE, Math.round(seconds * 1_000));
  }

  #attend(item: string, seconds: number): void {
    this.views.push({ item, seconds: Math.round(seconds * 1_000) / 1_000 });
    this.now += Math.round(seconds * 1_000);
  }

  finish(person: string | null, device: Device): Session {
    const { occurrences, views } = this;
    // An identify call is not an event.
    const times = occurrences.filter(({ body }) => body.type !== "identify").map((occurrence) => occurrence.at);
    const startedAt = times.reduce((least, time) => Math.min(least, time), Number.POSITIVE_INFINITY);
    const endedAt = times.reduce((greatest, time) => Math.max(greatest, time), 0);
    return { person, device, startedAt, endedAt, views, occurrences };
  }
}

/**
 * One learner's activity on the platform, session by session. All decisions are drawn from the learner's own random
 * stream.
 */
export class Life {
  readonly enrolments: Enrolment[] = [];
  readonly #learner: Learner;
  readonly #catalogue: Catalogue;
  readonly #options: Options;
  readonly #random: Random;
  readonly #ids: () => string;
  readonly #variation: Variation | undefined;
  readonly #knownDevices = new Set<Device>();
  /** The number of courses that the learner takes at the same time. */
  readonly #capacity: number;

  /** `variation` is the one that the learner has in the experiment; without it she takes no part. */
  constructor(
    learner: Learner,
    catalogue: Catalogue,
    options: Options,
    random: Random,
    ids: () => string,
    variation?: Variation,
  ) {
    this.#learner = learner;
    this.#catalogue = catalogue;
    this.#options = options;
    this.#random = random;
    this.#ids = ids;
    this.#variation = variation;
    this.#capacity = Math.round(clamp(learner.engagement * 1.5, 1, 4));
  }

  /** The sessions in order, all of them finished before the simulated time ends. */
  *sessions(): Generator<Session> {
    const { timeZone, joinedAt, leftAt } = this.#learner;
    const end = this.#options.until.getTime();
    const firstDay = Math.floor(wallClockOf(timeZone, joinedAt) / DAY);
    const lastDay = Math.floor(wallClockOf(timeZone, Math.min(end, leftAt)) / DAY);
    let free = joinedAt;
    for (let day = firstDay; day <= lastDay; day += 1) {
      const planned = this.#random.poisson(this.#sessionsExpected(day, free));
      const count = day === firstDay ? Math.max(1, planned) : planned;
      const starts = Array.from({ length: count }, () => this.#start(day)).sort((a, b) => a - b);
      for (const start of starts) {
        if (start < free || start >= Math.min(end, leftAt)) continue;
        const session = this.#session(start);
        if (session.endedAt >= end) {
          this.#forget(start);
          return;
        }
        free = session.endedAt + REST;
        yield session;
      }
    }
  }

  /** Undoes the effects of the last session, which exceeded the simulated time and is discarded. */
  #forget(start: number): void {
    const kept = this.enrolments.filter(({ enrolledAt }) => enrolledAt < start);
    this.enrolments.splice(0, this.enrolments.length, ...kept);
    for (const enrolment of kept) {
      if (enrolment.reportedAt !== undefined && enrolment.reportedAt >= start) enrolment.reportedAt = undefined;
      if (enrolment.completedAt === undefined || enrolment.completedAt < start) continue;
      enrolment.completedAt = undefined;
      enrolment.rating = undefined;
    }
  }

  /** Fewer without a course, more before a deadline; three per week for the median learner. */
  #sessionsExpected(day: number, now: number): number {
    const { engagement, weekendFactor } = this.#learner;
    const weekday = new Date(day * DAY).getUTCDay();
    const weight = (weekday === 0 || weekday === 6 ? weekendFactor : 1) / (5 + 2 * weekendFactor);
    const active = this.#active(now);
    const pressed = active.some((enrolment) => {
      const due = nextDeadline(enrolment);
      return due !== undefined && due > now && due - now < 2 * DAY;
    });
    return 3 * engagement * weight * (active.length === 0 ? 0.3 : 1) * (pressed ? 1.8 : 1);
  }

  /**
   * The local hour of the day, in four of five cases near the learner's usual hour, converted to an instant by the
   * rules of the time zone.
   */
  #start(day: number): number {
    const random = this.#random;
    const hour = random.chance(0.8) ? random.normal(this.#learner.peakHour, 1.3) : random.between(7, 23);
    return instantOf(this.#learner.timeZone, day * DAY + Math.round(clamp(hour, 0, 24) * 3_600_000));
  }

  /** Enrolments that the learner still pursues and can pursue. */
  #active(now: number): Enrolment[] {
    return this.enrolments.filter(
      ({ completedAt, givesUpAt, course }) =>
        completedAt === undefined && givesUpAt > now && (course.availableUntil ?? Number.POSITIVE_INFINITY) > now,
    );
  }

  #session(start: number): Session {
    const random = this.#random;
    const learner = this.#learner;
    const device = random.weighted(learner.devices, ({ kind }) => (kind === "laptop" ? 2 : 1));
    const isNew = !this.#knownDevices.has(device);
    this.#knownDevices.add(device);
    const recorder = new SessionRecorder(start, !isNew, random, this.#ids);
    if (isNew) {
      // Before signing in on a new device, people browse anonymously: these views belong to the person after the
      // identities are linked.
      if (random.chance(0.7)) this.#browse(recorder, random.integer(1, 3));
      recorder.signedIn = true;
      const { name, email, timeZone, language } = learner;
      recorder.add({
        type: "identify",
        traits: { name, email, timezone: timeZone, locale: language },
        context: { device: { type: device.kind }, timezone: timeZone },
      });
      recorder.now += 500;
    } else if (random.chance(0.4)) {
      recorder.view(this.#catalogue.home, random.logNormal(8, 0.7));
      recorder.pause();
    }
    this.#giveNotice(recorder);
    const budget = start + random.logNormal(720, 0.7) * 1_000;
    const active = this.#active(start);
    if (active.length < this.#capacity && random.chance(active.length === 0 ? 0.9 : 0.15)) {
      this.#browse(recorder, random.integer(1, 4));
    }
    const chosen = this.#choose(recorder.now);
    if (chosen !== undefined) this.#study(recorder, chosen, budget);
    if (recorder.views.length === 0) recorder.view(this.#catalogue.home, random.logNormal(15, 0.8));
    return recorder.finish(learner.externalId, device);
  }

  /** Some of those who gave up a course report it in their next session. */
  #giveNotice(recorder: SessionRecorder): void {
    for (const enrolment of this.enrolments) {
      if (!enrolment.reports || enrolment.reportedAt !== undefined || enrolment.completedAt !== undefined) continue;
      if (enrolment.givesUpAt > recorder.now) continue;
      enrolment.reportedAt = recorder.now;
      recorder.track("Course Dropped", enrolment.course.externalId);
      recorder.now += 2_000;
    }
  }

  #browse(recorder: SessionRecorder, count: number): void {
    const random = this.#random;
    const learner = this.#learner;
    for (let seen = 0; seen < count; seen += 1) {
      const course = random.weighted(this.#catalogue.courses, (each) => draw(learner, each));
      recorder.view(course, random.logNormal(12 + 30 * match(learner, course), 0.6));
      if (recorder.signedIn && !this.enrolments.some((enrolment) => enrolment.course === course)) {
        if (this.#mayEnrol(course, recorder.now) && random.chance(sigmoid(-1.2 + 5 * match(learner, course)))) {
          this.#enrol(recorder, course);
        } else if (match(learner, course) < 0.15 && random.chance(0.12)) {
          recorder.track("Course Dismissed", course.externalId);
        }
      }
      recorder.pause();
    }
  }

  #mayEnrol(course: Course, now: number): boolean {
    if (!opensForEnrolment(course, now) || this.#active(now).length >= this.#capacity) return false;
    return (
      course.requires === undefined ||
      this.enrolments.some((enrolment) => enrolment.course === course.requires && enrolment.completedAt !== undefined)
    );
  }

  #enrol(recorder: SessionRecorder, course: Course): void {
    const random = this.#random;
    const hazard = weeklyHazard(this.#learner, course);
    // Geometric in whole weeks, uniform within the week.
    const weeks = Math.floor(Math.log(1 - random.uniform()) / Math.log(1 - hazard));
    this.enrolments.push({
      person: this.#learner.externalId,
      course,
      enrolledAt: recorder.now,
      weeklyHazard: hazard,
      givesUpAt: recorder.now + (weeks + random.uniform()) * WEEK,
      completedAt: undefined,
      droppedAt: undefined,
      rating: undefined,
      nextStep: 0,
      attempts: 0,
      reports: random.chance(0.35),
      reportedAt: undefined,
    });
    recorder.track("Course Enrolled", course.externalId);
    recorder.now += 1_500;
  }

  /** The course to continue with: by interest and deadlines. */
  #choose(now: number): Enrolment | undefined {
    const open = this.#active(now).filter((enrolment) => stepOf(enrolment, now) !== undefined);
    if (open.length === 0) return undefined;
    return this.#random.weighted(open, (enrolment) => {
      const due = nextDeadline(enrolment);
      return draw(this.#learner, enrolment.course) * (due !== undefined && due > now && due - now < 3 * DAY ? 4 : 1);
    });
  }

  #study(recorder: SessionRecorder, enrolment: Enrolment, budget: number): void {
    const random = this.#random;
    const { course } = enrolment;
    recorder.view(course, random.logNormal(8, 0.5));
    recorder.pause();
    if (enrolment.nextStep === 0 && enrolment.attempts === 0) recorder.track("Course Started", course.externalId);
    while (recorder.now < budget && recorder.now < enrolment.givesUpAt) {
      const place = stepOf(enrolment, recorder.now);
      if (place === undefined) break;
      this.#take(recorder, enrolment, place.module, place.step);
      recorder.pause();
    }
  }

  #take(recorder: SessionRecorder, enrolment: Enrolment, module: Module, step: Step): void {
    const random = this.#random;
    const { course } = enrolment;
    if (step === module.steps[0] && enrolment.attempts === 0) recorder.track("Module Started", module.externalId);
    const seconds = clamp(random.logNormal(step.seconds, 0.5), 2, 1_200);
    if (step.kind === "video") {
      const toEnd = random.chance(WATCHED_TO_END[this.#applied(recorder) ?? "control"]);
      recorder.watch(step, toEnd ? step.seconds : step.seconds * random.between(0.1, 0.9));
    } else {
      if (step.kind === "task" && enrolment.attempts === 0) recorder.track("Task Started", step.externalId);
      recorder.view(step, seconds);
    }
    if (this.#learner.features.length > 0 && random.chance(0.06)) {
      recorder.track("Feature Used", step.externalId, { feature: random.pick(this.#learner.features) });
    }
    if (step.kind === "task" && !this.#submit(recorder, enrolment, step)) return;
    enrolment.attempts = 0;
    enrolment.nextStep += 1;
    if (step !== module.steps.at(-1)) return;
    recorder.track("Module Completed", module.externalId);
    if (module !== course.modules.at(-1)) return;
    enrolment.completedAt = recorder.now;
    recorder.track("Course Completed", course.externalId);
    if (random.chance(0.6)) {
      enrolment.rating = clamp(Math.round(random.normal(2.6 + 3 * match(this.#learner, course), 0.6)), 1, 5);
      recorder.now += 4_000;
      recorder.track("Course Rated", course.externalId, { rating: enrolment.rating });
    }
  }

  /** The variation of the player that shows a video now, if the experiment has started. */
  #applied(recorder: SessionRecorder): Variation | undefined {
    if (this.#variation === undefined || recorder.now < beginning(this.#options)) return undefined;
    recorder.expose(this.#variation);
    return this.#variation;
  }

  /** Submits a task; the third attempt counts regardless of its score. */
  #submit(recorder: SessionRecorder, enrolment: Enrolment, task: Step): boolean {
    const random = this.#random;
    const skill = 0.9 * this.#learner.ability - 0.6 * enrolment.course.difficulty + 0.4 * enrolment.attempts;
    const score = Math.round(100 * sigmoid(1 + skill + random.normal(0, 0.5))) / 100;
    enrolment.attempts += 1;
    const late = task.dueAt !== undefined && recorder.now > task.dueAt;
    recorder.track("Task Submitted", task.externalId, { score, late });
    if (score < 0.5 && enrolment.attempts < 3) return false;
    recorder.track("Task Completed", task.externalId, { score });
    return true;
  }
}

/** Visitors who browse once or twice and never sign in. */
export function* visits(device: Device, catalogue: Catalogue, options: Options, random: Random, ids: () => string) {
  const end = options.until.getTime();
  let start = end - options.weeks * WEEK * random.uniform();
  for (let visit = random.integer(1, 2); visit > 0; visit -= 1) {
    const recorder = new SessionRecorder(Math.round(start), false, random, ids);
    for (let seen = random.integer(1, 4); seen > 0; seen -= 1) {
      const course = random.weighted(catalogue.courses, ({ appeal }) => Math.exp(appeal));
      recorder.view(course, random.logNormal(15, 0.8));
      recorder.pause();
    }
    const session = recorder.finish(null, device);
    if (session.endedAt >= end) return;
    yield session;
    start = session.endedAt + REST + random.exponential(3 * DAY);
  }
}

/** The next item of a course, if it is already open. */
function stepOf(enrolment: Enrolment, now: number): { module: Module; step: Step } | undefined {
  let rest = enrolment.nextStep;
  for (const module of enrolment.course.modules) {
    const step = module.steps[rest];
    if (step !== undefined) return module.opensAt === undefined || module.opensAt <= now ? { module, step } : undefined;
    rest -= module.steps.length;
  }
  return undefined;
}

function nextDeadline(enrolment: Enrolment): number | undefined {
  let rest = enrolment.nextStep;
  for (const module of enrolment.course.modules) {
    if (rest < module.steps.length) return module.steps.at(-1)?.dueAt;
    rest -= module.steps.length;
  }
  return undefined;
}

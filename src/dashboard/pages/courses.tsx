import { useMemo, useState } from "preact/hooks";
import { ActionCard } from "../action.tsx";
import { addresses } from "../addresses.ts";
import { Card } from "../card.tsx";
import { bars } from "../chart.tsx";
import { messageOf, present, send, useLoaded } from "../data.ts";
import { Field, Choice as Select, SettingsForm } from "../form.tsx";
import { share } from "../format.ts";
import {
  courseLearners,
  courseProgress,
  courseSummaries,
  dropoutRisk,
  interventionOutcomes,
  interventions,
  learnerTimeline,
  recordIntervention,
  removeIntervention,
  stoppingPoints,
  taskDeadlines,
  taughtCourses,
} from "../operations.ts";
import type { Session } from "../session.ts";
import { periodOf, usePinned, useQuery, useSettings } from "../settings.ts";
import { texts } from "../texts.ts";

const { learners, risk, progress, stops, deadlines, journey } = texts.courses;

interface Course {
  course: string;
  title: string;
}

function Choice({ courses, chosen }: { courses: Course[]; chosen: string }) {
  const { change } = useSettings();
  if (usePinned() !== undefined) return <h3>{courses.find(({ course }) => course === chosen)?.title ?? chosen}</h3>;
  return (
    <label class="choice">
      {texts.courses.choose}
      <select value={chosen} onChange={({ currentTarget }) => change({ course: currentTarget.value, person: "" })}>
        {courses.map(({ course, title }) => (
          <option key={course} value={course}>
            {title}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A name that opens what the learner has done in the course. */
function Person({ course, person, name }: { course: string; person: string; name?: string | null }) {
  return <a href={`${addresses.courses}?${new URLSearchParams({ course, person })}`}>{name ?? person}</a>;
}

/** The outcome of the actions about which teachers wrote notes. */
function Outcomes({ course }: { course: string }) {
  const of = texts.interventions;
  return (
    <Card
      title={of.outcomes.title}
      explanation={of.outcomes.explanation}
      empty={of.outcomes.empty}
      operation={interventionOutcomes}
      variables={{ course }}
      isWide
      rows={({ analyticsInterventionOutcomes }) => present(analyticsInterventionOutcomes?.nodes)}
      columns={({ count, rate, text }) => [
        text(of.action, ({ action }) => action),
        count(of.outcomes.people, ({ personCount }) => personCount),
        count(of.outcomes.resumed, ({ resumedCount }) => resumedCount),
        count(of.outcomes.idle, ({ idleCount }) => idleCount),
        count(of.outcomes.open, ({ openCount }) => openCount),
        rate(of.outcomes.share, ({ shareResumed }) => shareResumed),
        rate(of.risk, ({ meanRisk }) => meanRisk),
      ]}
    />
  );
}

/** Notes of what teachers did about learners at risk, and the outcome. */
function Interventions({ course, person }: { course: string; person: string | undefined }) {
  const of = texts.interventions;
  const [turn, setTurn] = useState(0);
  const [refusal, setRefusal] = useState<string>();
  const changed = (): void => setTurn((turn) => turn + 1);
  const remove = async (interventionId: string): Promise<void> => {
    setRefusal(undefined);
    try {
      const { analyticsRemoveIntervention } = await send(removeIntervention, { input: { interventionId } });
      if (analyticsRemoveIntervention?.result === true) changed();
      else setRefusal(texts.interventions.kept);
    } catch (error) {
      setRefusal(messageOf(error));
    }
  };
  return (
    <>
      <ActionCard
        key={person}
        title={of.form.title}
        explanation={of.form.explanation}
        actions={[
          {
            label: of.form.store,
            async run({ person = "", action = "", note }) {
              await send(recordIntervention, { input: { course, person, action, note: note ?? null } });
              changed();
              return of.form.done;
            },
          },
        ]}
      >
        <Field label={of.form.person} name="person" value={person} isRequired />
        <Select label={of.form.action} name="action" choices={of.form.actions} />
        <Field label={of.form.note} name="note" />
      </ActionCard>
      <Outcomes key={turn} course={course} />
      <Card
        key={`notes ${turn} ${person}`}
        title={of.title}
        explanation={of.explanation}
        empty={of.empty}
        operation={interventions}
        variables={{ course, ...(person === undefined ? {} : { person }) }}
        isWide
        rows={({ analyticsInterventions }) => present(analyticsInterventions?.nodes)}
        columns={({ count, rate, text, time }) => [
          time(of.at, ({ happenedAt }) => happenedAt),
          text(of.person, ({ person }) => person),
          text(of.action, ({ action }) => action),
          text(of.note, ({ note }) => note),
          text(of.by, ({ createdBy }) => createdBy),
          rate(of.risk, ({ risk }) => risk),
          count(of.days, ({ activeDays }) => activeDays),
          text(of.status, ({ status }) => status),
          {
            head: of.remove,
            value: () => "",
            show: ({ interventionId }) => (
              <button type="button" class="quiet" onClick={() => void remove(interventionId ?? "")}>
                {of.remove}
              </button>
            ),
          },
        ]}
      />
      {refusal !== undefined && (
        <p class="note bad" role="alert">
          {refusal}
        </p>
      )}
    </>
  );
}

/** Learners on a page of the table. */
const perPage = 200;

/** The learners of a course by name, page by page. */
function Roster({ course, person }: { course: string; person: string | undefined }) {
  const { search, after } = useQuery();
  const fixed = { course, ...(person === undefined ? {} : { person }) };
  const found = search === undefined ? {} : { search };
  const page = (settings: object): string =>
    `${addresses.courses}?${new URLSearchParams({ ...fixed, ...found, ...settings })}`;
  return (
    <Card
      title={learners.title}
      explanation={learners.explanation}
      empty={learners.empty}
      operation={courseLearners}
      variables={{ course, ...found, ...(after === undefined ? {} : { afterPerson: after }), top: perPage }}
      isWide
      controls={
        <SettingsForm label={learners.settings} fixed={fixed}>
          {(settings) => <Field label={learners.search} name="search" value={settings["search"]} />}
        </SettingsForm>
      }
      rows={({ analyticsCourseLearners }) => present(analyticsCourseLearners?.nodes)}
      columns={({ count, rate, span, text, time }) => [
        {
          head: learners.person,
          value: ({ name, person }) => name ?? person,
          show: ({ name, person }) => <Person course={course} person={person ?? ""} name={name} />,
        },
        text(learners.status, ({ status }) => status),
        time(learners.last, ({ lastActiveAt }) => lastActiveAt),
        count(learners.days, ({ activeDays }) => activeDays),
        span(learners.engaged, ({ engaged }) => engaged),
        rate(learners.tasks, ({ shareOfTasks }) => shareOfTasks),
      ]}
      foot={(rows) => {
        const hasMore = rows.length === perPage;
        if (after === undefined && !hasMore) return null;
        return (
          <nav class="pages" aria-label={learners.pages}>
            {after !== undefined && <a href={page({})}>{learners.first}</a>}
            {hasMore && <a href={page({ after: rows.at(-1)?.person ?? "" })}>{learners.next}</a>}
          </nav>
        );
      }}
    />
  );
}

function Learners({ course, person }: { course: string; person: string | undefined }) {
  const { since } = useMemo(() => periodOf({ days: "90" }), []);
  return (
    <>
      {person !== undefined && (
        <Card
          key={person}
          title={journey.title(person)}
          explanation={journey.explanation}
          empty={journey.empty}
          operation={learnerTimeline}
          variables={{ course, person, since }}
          isWide
          rows={({ analyticsCourseJourney }) => present(analyticsCourseJourney?.nodes).toReversed()}
          columns={({ span, text, time }) => [
            time(journey.at, ({ occurredAt }) => occurredAt),
            text(journey.event, ({ event }) => event),
            text(journey.item, ({ item, itemTitle }) => itemTitle ?? item),
            span(journey.engaged, ({ engaged }) => engaged),
          ]}
        />
      )}
      <Card
        title={risk.title}
        explanation={risk.explanation}
        empty={risk.empty}
        operation={dropoutRisk}
        variables={{ course, top: 10 }}
        rows={({ analyticsDropoutRisk }) => present(analyticsDropoutRisk?.nodes)}
        columns={({ count, rate, text }) => [
          count(risk.rank, ({ rank }) => rank),
          {
            head: risk.person,
            value: ({ person }) => person,
            show: ({ person }) => <Person course={course} person={person ?? ""} />,
          },
          rate(risk.probability, ({ score }) => score),
          text(risk.reasons, ({ reasons }) =>
            present(reasons)
              .map(
                ({ feature, contribution }) =>
                  `${feature?.replaceAll("_", " ")} ${Number(contribution) < 0 ? "−" : "+"}`,
              )
              .join(", "),
          ),
        ]}
      />
      <Interventions course={course} person={person} />
      <Roster course={course} person={person} />
    </>
  );
}

function Figures({ course }: { course: string }) {
  return (
    <>
      <Card
        title={progress.title}
        explanation={progress.explanation}
        operation={courseProgress}
        variables={{ course }}
        rows={({ analyticsCourseProgress }) => present(analyticsCourseProgress?.nodes)}
        columns={({ count, text }) => [
          text(progress.share, range),
          count(progress.people, ({ personCount }) => personCount),
          count(progress.completed, ({ completedCount }) => completedCount),
        ]}
        chart={(rows) =>
          bars(
            rows.map(range),
            progress.people,
            rows.map(({ personCount }) => Number(personCount ?? 0)),
          )
        }
      />
      <Card
        title={stops.title}
        explanation={stops.explanation}
        operation={stoppingPoints}
        variables={{ course }}
        rows={({ analyticsStoppingPoints }) => present(analyticsStoppingPoints?.nodes)}
        columns={({ count, rate, text }) => [
          text(stops.item, ({ item, title }) => title ?? item),
          count(stops.reached, ({ reachedCount }) => reachedCount),
          count(stops.stopped, ({ stoppedCount }) => stoppedCount),
          rate(stops.share, ({ share }) => share),
        ]}
        chart={(rows) => {
          const most = rows
            .filter(({ stoppedCount }) => Number(stoppedCount) > 0)
            .toSorted((one, other) => Number(other.stoppedCount) - Number(one.stoppedCount))
            .slice(0, 10);
          return bars(
            most.map(({ item, title }) => title ?? item ?? ""),
            stops.stopped,
            most.map(({ stoppedCount }) => Number(stoppedCount)),
          );
        }}
      />
      <Card
        title={deadlines.title}
        explanation={deadlines.explanation}
        empty={deadlines.empty}
        operation={taskDeadlines}
        variables={{ course }}
        isWide
        rows={({ analyticsTaskDeadlines }) => present(analyticsTaskDeadlines?.nodes)}
        columns={({ count, span, text, time }) => [
          text(deadlines.task, ({ task, title }) => title ?? task),
          time(deadlines.due, ({ dueAt }) => dueAt),
          count(deadlines.onTime, ({ onTimeCount }) => onTimeCount),
          count(deadlines.late, ({ lateCount }) => lateCount),
          count(deadlines.missing, ({ missingCount }) => missingCount),
          span(deadlines.lead, ({ medianLead }) => medianLead),
        ]}
      />
      <Outcomes course={course} />
    </>
  );
}

function Page({ courses, isTeacher }: { courses: Course[] | undefined; isTeacher: boolean }) {
  const settings = useSettings();
  if (courses === undefined) return <div class="skeleton" role="status" aria-label={texts.card.loading} />;
  const course = settings.course ?? courses[0]?.course;
  if (course === undefined) return <p class="note">{texts.courses.none}</p>;
  return (
    <>
      <Choice courses={courses} chosen={course} />
      <div class="cards" key={course}>
        {isTeacher ? <Learners course={course} person={settings.person} /> : <Figures course={course} />}
      </div>
    </>
  );
}

const range = ({ lowerBound, upperBound }: { lowerBound: number | null; upperBound: number | null }): string =>
  lowerBound === upperBound ? share(lowerBound) : `${share(lowerBound)} – ${share(upperBound)}`;

const sorted = (courses: { course: string | null; title: string | null }[]): Course[] =>
  courses
    .map(({ course, title }) => ({ course: course ?? "", title: title ?? course ?? "" }))
    .toSorted((one, other) => one.title.localeCompare(other.title));

function Taught() {
  const { result, error } = useLoaded(taughtCourses, {});
  if (error !== undefined) return <p class="note bad">{error.message}</p>;
  return <Page isTeacher courses={result && sorted(present(result.trackTaughtCourses?.nodes))} />;
}

function All() {
  const { result, error } = useLoaded(courseSummaries, {});
  if (error !== undefined) return <p class="note bad">{error.message}</p>;
  return <Page isTeacher={false} courses={result && sorted(present(result.analyticsCourseSummaries?.nodes))} />;
}

/** A course: for its teachers the learners by name, for analysts figures of groups. */
export default function Courses({ session }: { session: Session }) {
  return session.role === "instructor" ? <Taught /> : <All />;
}

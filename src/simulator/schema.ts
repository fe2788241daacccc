/**
 * The tables of the application, independent of Insights. The views show them in the columns that
 * `track.sync_items`, `track.sync_enrolments` and `track.sync_item_roles` read. Every statement may be run again.
 */
export const APPLICATION = `
  create schema if not exists canvas_flow;
  comment on schema canvas_flow is 'The tables of a simulated application, Canvas Flow: read by track.sync_items, track.sync_enrolments and track.sync_item_roles.';

  create table if not exists canvas_flow.users (
    username text primary key,
    name text not null,
    email text not null unique,
    time_zone text not null,
    language text not null,
    joined_at timestamptz not null
  );

  create table if not exists canvas_flow.courses (
    slug text primary key,
    title text not null,
    url text not null,
    subject text not null,
    requires text references canvas_flow.courses,
    available_from timestamptz,
    available_until timestamptz
  );
  create index if not exists courses_requires on canvas_flow.courses (requires);

  create table if not exists canvas_flow.modules (
    path text primary key,
    course text not null references canvas_flow.courses,
    position int not null,
    title text not null,
    url text not null,
    opens_at timestamptz
  );
  create index if not exists modules_course on canvas_flow.modules (course);

  create table if not exists canvas_flow.lessons (
    path text primary key,
    module text not null references canvas_flow.modules,
    position int not null,
    kind text not null check (kind in ('page', 'video', 'task')),
    title text not null,
    url text not null,
    seconds int not null,
    due_at timestamptz
  );
  create index if not exists lessons_module on canvas_flow.lessons (module);

  create table if not exists canvas_flow.enrolments (
    username text not null references canvas_flow.users,
    course text not null references canvas_flow.courses,
    enrolled_at timestamptz not null,
    completed_at timestamptz,
    dropped_at timestamptz,
    primary key (username, course)
  );
  create index if not exists enrolments_course on canvas_flow.enrolments (course);

  create or replace view canvas_flow.items as
    select
      slug as external_id, 'course' as kind, title, null::text as parent, url, 'en' as language,
      jsonb_build_object('subject', subject) as attributes,
      available_from, available_until, null::timestamptz as due_at
    from canvas_flow.courses
    union all
    select
      path, 'module', title, course, url, 'en', jsonb_build_object('position', position),
      opens_at, null, null
    from canvas_flow.modules
    union all
    select
      path, kind, title, module, url, 'en', jsonb_build_object('position', position, 'seconds', seconds),
      null, null, due_at
    from canvas_flow.lessons
    union all
    select 'home', 'page', 'Dashboard', null, 'https://canvasflow.example/', 'en', '{}', null, null, null;

  create or replace view canvas_flow.item_roles as
    select 'teacher-of-' || subject as person, slug as item, 'instructor' as role
    from canvas_flow.courses;

  create or replace view canvas_flow.enrolment_states as
    select
      username as person,
      course as item,
      enrolled_at,
      case
        when completed_at is not null then 'completed'
        when dropped_at is not null then 'dropped'
        else 'active'
      end as status,
      coalesce(completed_at, dropped_at) as ended_at
    from canvas_flow.enrolments;
`;

/** The true attributes, so that inferences can be checked against them. No room of the product reads them. */
export const TRUTH = `
  create schema if not exists canvas_flow_truth;
  comment on schema canvas_flow_truth is 'True attributes of the simulated population, for checking inferences. No room of the product reads them.';

  create table if not exists canvas_flow_truth.population (
    only_row boolean primary key default true check (only_row),
    population_id text not null,
    learners int not null,
    courses int not null,
    weeks int not null,
    seed bigint not null,
    until timestamptz not null,
    topics text[] not null,
    messages int,
    finished_at timestamptz
  );
  comment on table canvas_flow_truth.population is 'The options that determine the population, and the time at which it was complete.';

  create table if not exists canvas_flow_truth.learner (
    person text primary key,
    time_zone text not null,
    tastes float8[] not null,
    ability float8 not null,
    engagement float8 not null,
    peak_hour float8 not null,
    weekend_factor float8 not null,
    features text[] not null,
    joined_at timestamptz not null,
    left_at timestamptz
  );
  comment on table canvas_flow_truth.learner is 'Preferences (shares of the topics), ability (deviations from the average), engagement (factor of the median number of sessions), the local hour around which sessions start, the frequency of a weekend day relative to a working day, and the time at which a learner left permanently.';

  create table if not exists canvas_flow_truth.course (
    item text primary key,
    topic text not null,
    topics float8[] not null,
    difficulty float8 not null,
    appeal float8 not null
  );
  comment on table canvas_flow_truth.course is 'Topics of a course (as shares), its difficulty, and its attraction for all learners.';

  create table if not exists canvas_flow_truth.session (
    session_number int primary key,
    person text,
    anonymous_id text not null,
    device text not null,
    clock_skew interval not null,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    events int not null,
    views int not null,
    engaged interval not null
  );
  comment on table canvas_flow_truth.session is 'Every session by the true clock; person is null for visitors who never sign in. Heartbeats can show all of the engaged time but the last ten seconds of each view.';

  create table if not exists canvas_flow_truth.enrolment (
    person text not null,
    item text not null,
    enrolled_at timestamptz not null,
    match float8 not null,
    weekly_hazard float8 not null,
    dropped_at timestamptz,
    dropped_week int,
    completed_at timestamptz,
    rating int,
    primary key (person, item)
  );
  comment on table canvas_flow_truth.enrolment is 'Every enrolment with the similarity of preferences and topics, the probability of giving up in any one week, and the week in which the learner gave up, reported or not (weeks count from 0 at enrolment).';

  create table if not exists canvas_flow_truth.attention (
    item text primary key,
    views int not null,
    people int not null,
    engaged interval not null
  );
  comment on table canvas_flow_truth.attention is 'True attention per item: views, distinct people (before identities are linked: visitors count as one each), engaged time.';

  create table if not exists canvas_flow_truth.variation (
    variation text primary key,
    finished_share float8 not null
  );
  comment on table canvas_flow_truth.variation is 'The variations of the experiment resume-videos, and the true probability that a started video is watched to its end: the metric videos_finished.';

  create table if not exists canvas_flow_truth.assignment (
    person text primary key,
    variation text not null references canvas_flow_truth.variation
  );
  create index if not exists assignment_variation on canvas_flow_truth.assignment (variation);
  comment on table canvas_flow_truth.assignment is 'The variation that each learner has, or would have if she started a video.';
`;

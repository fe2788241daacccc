create schema experiment;

comment on schema experiment is $$
A/B tests and bandits: assignment, exposure, metrics, statistics and decisions.
$$;

grant usage on schema experiment
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
-- Owner of the functions that read for roles without privileges on the tables.
grant usage, create on schema experiment to insights_reader;

/* ---------------------------------------------------------------------------------------- layers and holdouts -- */

create table experiment.layer (
  layer text primary key check (layer ~ '^[a-z][a-z0-9_-]{0,62}$'),
  description text not null
);

comment on table experiment.layer is $$
Layers: groups of experiments of which a person takes part in one at most (namespaces, in GrowthBook's terms).
Each experiment of a layer has a range of it. The ranges of experiments that are not stopped do not overlap.
$$;
comment on column experiment.layer.layer is $$Name of the layer, which is also the seed of its hash.$$;
comment on column experiment.layer.description is $$Description of the layer.$$;

create table experiment.holdout (
  holdout text primary key check (holdout ~ '^[a-z][a-z0-9_-]{0,62}$'),
  description text not null,
  share double precision not null check (share > 0 and share < 1),
  created_at timestamptz not null default now(),
  ended_at timestamptz
);

comment on table experiment.holdout is $$
Holdouts: shares of people who take part in none of the experiments of the holdout, as a lasting control group.
$$;
comment on column experiment.holdout.holdout is $$
Name of the holdout. Its hash has the seed `holdout.` with this name.
$$;
comment on column experiment.holdout.description is $$Description of the holdout.$$;
comment on column experiment.holdout.share is $$Share of people who are held out, greater than 0 and less than 1.$$;
comment on column experiment.holdout.created_at is $$Time at which the holdout was created.$$;
comment on column experiment.holdout.ended_at is $$Time from which nobody is held out; null while it is active.$$;

/* --------------------------------------------------------------------------------------------------- features -- */

create table experiment.feature (
  feature_key text primary key check (feature_key ~ '^[A-Za-z0-9][A-Za-z0-9_.:|-]{0,99}$'),
  description text not null,
  value_type text not null check (value_type in ('boolean', 'number', 'string', 'json')),
  default_value jsonb not null,
  rules jsonb not null default '[]' check (jsonb_typeof(rules) = 'array'),
  updated_at timestamptz not null default now()
);

comment on table experiment.feature is $$
@name experiment_feature_definition
Features: values that an application reads by key, such as whether a page shows the new player.
Experiments on the feature and its rules decide the value for a person; see `experiment.features`.
$$;
comment on column experiment.feature.feature_key is $$Key of the feature in the application.$$;
comment on column experiment.feature.description is $$Description of the feature.$$;
comment on column experiment.feature.value_type is $$Type of its values: `boolean`, `number`, `string` or `json`.$$;
comment on column experiment.feature.default_value is $$Value for people to whom no rule applies.$$;
comment on column experiment.feature.rules is $$
Rules without an experiment, in GrowthBook's form, such as `{"condition": {"role": "staff"}, "force": true}`.
They come before the experiments.
$$;
comment on column experiment.feature.updated_at is $$Time of the last change.$$;

/* ------------------------------------------------------------------------------------------------ experiments -- */

create table experiment.experiment (
  experiment_id int generated always as identity primary key,
  experiment_key text not null unique check (experiment_key ~ '^[a-z][a-z0-9_-]{0,62}$'),
  name text not null check (length(name) between 1 and 200),
  hypothesis text check (length(hypothesis) <= 10000),
  state text not null default 'draft' check (state in ('draft', 'running', 'stopped', 'shipped')),
  feature_key text references experiment.feature,
  placement text check (placement ~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'),
  -- assignment
  hash_attribute text not null default 'id' check (length(hash_attribute) between 1 and 100),
  fallback_attribute text check (length(fallback_attribute) between 1 and 100),
  hash_version smallint not null default 2 check (hash_version in (1, 2)),
  seed text not null check (length(seed) between 1 and 200),
  layer text references experiment.layer,
  layer_from double precision,
  layer_until double precision,
  holdout text references experiment.holdout,
  condition jsonb check (jsonb_typeof(condition) = 'object'),
  parent_conditions jsonb check (jsonb_typeof(parent_conditions) = 'array'),
  is_sticky boolean not null default false,
  bucket_version int not null default 0 check (bucket_version >= 0),
  min_bucket_version int not null default 0 check (min_bucket_version >= 0),
  -- plan
  population text not null default 'counted' references track.person_set,
  strata text check (strata ~ '^(trait|set)\.[A-Za-z0-9_.]{1,100}$'),
  test text not null default 'sequential' check (test in ('welch', 'sequential', 'bayesian')),
  alpha double precision not null default 0.05 check (alpha > 0 and alpha < 0.5),
  tuning double precision not null default 5000 check (tuning > 0),
  correction text not null default 'none' check (correction in ('none', 'holm', 'benjamini_hochberg')),
  before_period interval not null default '14 days' check (before_period >= '0'),
  planned_people int check (planned_people > 0),
  minimum_duration interval not null default '7 days' check (minimum_duration >= '0'),
  maximum_duration interval check (maximum_duration > '0'),
  is_decided_automatically boolean not null default false,
  -- bandit
  bandit text check (bandit in ('thompson', 'top_two')),
  minimum_weight double precision not null default 0.01 check (minimum_weight >= 0 and minimum_weight <= 0.5),
  update_interval interval not null default '1 day' check (update_interval > '0'),
  -- course of the experiment
  created_at timestamptz not null default now(),
  started_at timestamptz,
  stopped_at timestamptz,
  shipped_variation smallint,
  check ((layer is null) = (layer_from is null) and (layer is null) = (layer_until is null)),
  check (layer_from >= 0 and layer_from < layer_until and layer_until <= 1),
  check ((state = 'draft') = (started_at is null)),
  check ((state in ('stopped', 'shipped')) = (stopped_at is not null)),
  check ((state = 'shipped') = (shipped_variation is not null)),
  check (started_at <= stopped_at),
  check (min_bucket_version <= bucket_version),
  shipped_at timestamptz check ((state = 'shipped') = (shipped_at is not null))
);

comment on table experiment.experiment is $$
Experiments, with their assignment, their plan and their state.
The plan is fixed when the experiment starts: what it measures, by which test, for how long. Each change is recorded in
`experiment.change`.
$$;
comment on column experiment.experiment.experiment_id is $$Key of the experiment.$$;
comment on column experiment.experiment.experiment_key is $$Name of the experiment in messages and results.$$;
comment on column experiment.experiment.name is $$Title for people.$$;
comment on column experiment.experiment.hypothesis is $$Expected effect and its reason; null when none was given.$$;
comment on column experiment.experiment.state is $$`draft`, `running`, `stopped` or `shipped`.$$;
comment on column experiment.experiment.feature_key is $$
Feature whose values the variations set; null when there is none.
$$;
comment on column experiment.experiment.placement is $$
Place in the system whose behaviour the variations set, such as `recommend.course`; null when there is none.
Of the experiments on a placement, one runs at a time.
$$;
comment on column experiment.experiment.hash_attribute is $$
Attribute by whose value people are assigned: `id` (the `userId`), `anonymousId` or the name of a trait.
$$;
comment on column experiment.experiment.fallback_attribute is $$
Attribute that takes the place of `hash_attribute` for people without it; null when there is none.
$$;
comment on column experiment.experiment.hash_version is $$Version of GrowthBook's hash: 2, or 1 for old clients.$$;
comment on column experiment.experiment.seed is $$Seed of the hash; another seed assigns people to other variations.$$;
comment on column experiment.experiment.layer is $$Layer; null when the experiment is in none.$$;
comment on column experiment.experiment.layer_from is $$Start of its range of the layer, 0 to 1, inclusive.$$;
comment on column experiment.experiment.layer_until is $$End of its range of the layer, 0 to 1, exclusive.$$;
comment on column experiment.experiment.holdout is $$
Holdout whose people do not take part; null when there is none.
$$;
comment on column experiment.experiment.condition is $$
Condition on the attributes of a person, in GrowthBook's form; null: all people may take part.
$$;
comment on column experiment.experiment.parent_conditions is $$
Prerequisites: features that must have a value, in GrowthBook's form; null when there are none.
$$;
comment on column experiment.experiment.is_sticky is $$
Whether people keep their variation when weights, coverage or condition change.
$$;
comment on column experiment.experiment.bucket_version is $$
Version of the sticky assignments; a greater one assigns all people again.
$$;
comment on column experiment.experiment.min_bucket_version is $$
People with sticky assignments of an earlier version than this one do not take part.
$$;
comment on column experiment.experiment.population is $$Set of people whose exposures and outcomes count.$$;
comment on column experiment.experiment.strata is $$
Trait, with its value at the exposure, or set of people, as it is now, by which results are post-stratified; null: none.
$$;
comment on column experiment.experiment.test is $$
Test of the decision: `sequential` (valid at any time), `welch` or `bayesian` (once, at the planned end).
$$;
comment on column experiment.experiment.alpha is $$Significance level of the decision.$$;
comment on column experiment.experiment.tuning is $$
Tuning parameter of the sequential test: the number of people at which its interval is narrowest.
$$;
comment on column experiment.experiment.correction is $$
Correction for the comparisons of several variations and goals: `none`, `holm` or `benjamini_hochberg`.
$$;
comment on column experiment.experiment.before_period is $$
Period before the exposure whose behaviour reduces the variance of the results (CUPED); 0: no reduction.
$$;
comment on column experiment.experiment.planned_people is $$
Planned number of exposed people in all variations; null when none was planned.
$$;
comment on column experiment.experiment.minimum_duration is $$Duration before which no effect is decided.$$;
comment on column experiment.experiment.maximum_duration is $$
Duration after which the experiment ends without a decision; null: no limit.
$$;
comment on column experiment.experiment.is_decided_automatically is $$
Whether the task `decide_experiments` stops the experiment when the decision rule is met. Harm always stops it.
$$;
comment on column experiment.experiment.bandit is $$
`thompson` or `top_two`: weights follow the results; null: they are fixed.
$$;
comment on column experiment.experiment.minimum_weight is $$Minimum weight of a variation of a bandit.$$;
comment on column experiment.experiment.update_interval is $$Interval at which the weights of a bandit are updated.$$;
comment on column experiment.experiment.created_at is $$Time at which the experiment was created.$$;
comment on column experiment.experiment.started_at is $$Time of the start; null while it is a draft.$$;
comment on column experiment.experiment.stopped_at is $$Time of the end; null before it.$$;
comment on column experiment.experiment.shipped_variation is $$
Position of the variation that all people get; null when none was shipped.
$$;
comment on column experiment.experiment.shipped_at is $$Time at which it was shipped; null when none was.$$;

create index experiment_feature on experiment.experiment (feature_key);
create index experiment_layer on experiment.experiment (layer);
create index experiment_holdout on experiment.experiment (holdout);
create index experiment_population on experiment.experiment (population);
create unique index experiment_placement on experiment.experiment (placement) where state = 'running';

create table experiment.variation (
  experiment_id int not null references experiment.experiment on delete cascade,
  variation smallint not null check (variation >= 0),
  variation_key text not null check (variation_key ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  name text not null check (length(name) between 1 and 200),
  value jsonb not null,
  primary key (experiment_id, variation),
  unique (experiment_id, variation_key)
);

comment on table experiment.variation is $$
Variations (arms) of the experiments. Variation 0 is the control.
$$;
comment on column experiment.variation.experiment_id is $$Experiment.$$;
comment on column experiment.variation.variation is $$Position of the variation, from 0, the control.$$;
comment on column experiment.variation.variation_key is $$Name of the variation in messages and results.$$;
comment on column experiment.variation.name is $$Title for people.$$;
comment on column experiment.variation.value is $$Value of the feature, or parameters for the placement.$$;

create table experiment.weighting (
  experiment_id int not null references experiment.experiment on delete cascade,
  since timestamptz not null,
  weights double precision[] not null,
  coverage double precision not null default 1 check (coverage > 0 and coverage <= 1),
  details jsonb,
  primary key (experiment_id, since)
);

comment on table experiment.weighting is $$
Weights of the variations in the course of time: one row at the start, and one for each change.
An exposure has the weights of its time, by which bandits are evaluated.
$$;
comment on column experiment.weighting.experiment_id is $$Experiment.$$;
comment on column experiment.weighting.since is $$
Time from which the weights apply; `-infinity` for those of a draft.
$$;
comment on column experiment.weighting.weights is $$Weight of each variation, in their order; the sum is 1.$$;
comment on column experiment.weighting.coverage is $$Share of the people who take part.$$;
comment on column experiment.weighting.details is $$
Statistics from which a bandit computed the weights; null for weights that were given.
$$;

/* ---------------------------------------------------------------------------------------------------- metrics -- */

create table experiment.metric (
  metric_id int generated always as identity primary key,
  metric_key text not null unique check (metric_key ~ '^[a-z][a-z0-9_-]{0,62}$'),
  description text not null check (length(description) <= 2000),
  type text not null check (type in ('proportion', 'mean', 'count', 'ratio', 'quantile', 'retention')),
  event_type_ids int[] check (event_type_ids <> '{}'),
  item_id bigint references track.item,
  property_filter jsonb check (jsonb_typeof(property_filter) = 'object'),
  value_property text check (length(value_property) between 1 and 200),
  numerator_metric_id int references experiment.metric,
  denominator_metric_id int references experiment.metric,
  quantile double precision check (quantile > 0 and quantile < 1),
  cap numeric check (cap > 0),
  delay interval not null default '0' check (delay >= '0'),
  period interval check (period > '0'),
  is_lower_better boolean not null default false,
  created_at timestamptz not null default now(),
  check ((type = 'ratio') = (numerator_metric_id is not null and denominator_metric_id is not null)),
  check ((type = 'ratio') = (event_type_ids is null)),
  check ((type = 'quantile') = (quantile is not null))
);

comment on table experiment.metric is $$
Metrics: outcomes of people, computed from their events after the exposure.
A metric that an experiment measures cannot be changed once the experiment has started.
$$;
comment on column experiment.metric.metric_id is $$Key of the metric.$$;
comment on column experiment.metric.metric_key is $$Name of the metric.$$;
comment on column experiment.metric.description is $$Description of the metric.$$;
comment on column experiment.metric.type is $$
Type of the metric.
`proportion` (share of people with an event), `retention` (the same, from `delay` on), `count` (events per person),
`mean` (sum of the values per person), `ratio` (of two metrics) or `quantile` (of the values of all events).
$$;
comment on column experiment.metric.event_type_ids is $$Types of the events; null for a ratio.$$;
comment on column experiment.metric.item_id is $$
Item: only events of it and of what it contains count; null: those of all items.
$$;
comment on column experiment.metric.property_filter is $$
Condition on the properties of the events, in GrowthBook's form; null: all events count.
$$;
comment on column experiment.metric.value_property is $$
Property with the value of an event; null: each event has the value 1.
$$;
comment on column experiment.metric.numerator_metric_id is $$Numerator of a ratio; null otherwise.$$;
comment on column experiment.metric.denominator_metric_id is $$Denominator of a ratio; null otherwise.$$;
comment on column experiment.metric.quantile is $$Quantile, such as 0.9; null for other types.$$;
comment on column experiment.metric.cap is $$Maximum of the value of a person; null: no limit.$$;
comment on column experiment.metric.delay is $$Time after the exposure from which events count.$$;
comment on column experiment.metric.period is $$
Period after the delay within which events count; null: until the end of the experiment.
$$;
comment on column experiment.metric.is_lower_better is $$Whether a decrease is an improvement.$$;
comment on column experiment.metric.created_at is $$Time at which the metric was created.$$;

create index metric_item on experiment.metric (item_id);
create index metric_numerator on experiment.metric (numerator_metric_id);
create index metric_denominator on experiment.metric (denominator_metric_id);

create table experiment.metric_event (
  metric_id int not null references experiment.metric on delete cascade,
  event_type_id int not null references track.event_type,
  primary key (metric_id, event_type_id)
);

comment on table experiment.metric_event is $$
@behavior -*
Types of the events of the metrics, as in `experiment.metric.event_type_ids`, which keeps them from being deleted.
$$;
comment on column experiment.metric_event.metric_id is $$Metric.$$;
comment on column experiment.metric_event.event_type_id is $$Type of events.$$;

create index metric_event_type on experiment.metric_event (event_type_id);

create table experiment.measured (
  experiment_id int not null references experiment.experiment on delete cascade,
  metric_id int not null references experiment.metric,
  role text not null check (role in ('goal', 'secondary', 'guardrail')),
  position smallint not null,
  margin double precision check (margin >= 0),
  primary key (experiment_id, metric_id),
  unique (experiment_id, position)
);

comment on table experiment.measured is $$
Metrics that an experiment measures. The goal with position 0 decides.
$$;
comment on column experiment.measured.experiment_id is $$Experiment.$$;
comment on column experiment.measured.metric_id is $$Metric.$$;
comment on column experiment.measured.role is $$
`goal` (decides), `secondary` (informs) or `guardrail` (must not become worse by more than `margin`).
$$;
comment on column experiment.measured.position is $$Position in the results, from 0.$$;
comment on column experiment.measured.margin is $$
Of a guardrail: relative worsening that is accepted (non-inferiority), such as 0.02; null: 0.
$$;

create index measured_metric on experiment.measured (metric_id);

/* ------------------------------------------------------------------------------------------------ assignment -- */

create type experiment.regex_part as (
  ways double precision,
  first_ways double precision,
  first_arcs double precision,
  last_ways double precision,
  last_states double precision,
  arcs double precision,
  states double precision
);

comment on type experiment.regex_part is $$
How large the automaton of a part of a regular expression is; see `experiment._regex_work`.
$$;
comment on column experiment.regex_part.ways is $$
Ways to pass the part without a character, with different boundaries; 0 if it needs a character.
$$;
comment on column experiment.regex_part.first_ways is $$Ways from the start of the part to its first character.$$;
comment on column experiment.regex_part.first_arcs is $$Arcs of the characters with which the part can start.$$;
comment on column experiment.regex_part.last_ways is $$Ways from the last character of the part to its end.$$;
comment on column experiment.regex_part.last_states is $$States in which the part can end.$$;
comment on column experiment.regex_part.arcs is $$
Arcs between the characters of the part, times the ways between them.
$$;
comment on column experiment.regex_part.states is $$Characters of the part, with their repetitions.$$;

/* ------------------------------------------------------------------------------------------------- decisions -- */

create type experiment.decision as (
  experiment text,
  state text,
  verdict text,
  variation text,
  reason text,
  days double precision,
  people bigint,
  warnings text[]
);

comment on type experiment.decision is $$
Decision about an experiment by the rule of `experiment.decision`.
$$;
comment on column experiment.decision.experiment is $$Experiment.$$;
comment on column experiment.decision.state is $$State of the experiment.$$;
comment on column experiment.decision.verdict is $$
`ship`, `harm`, `no_decision`, `running`, `invalid` or `draft`; of `experiment.decide_experiments` also `error`.
$$;
comment on column experiment.decision.variation is $$
Variation that the verdict is about: the one to ship, or the one that harms; null for the other verdicts.
$$;
comment on column experiment.decision.reason is $$Reason of the verdict, with numbers.$$;
comment on column experiment.decision.days is $$Number of days since the start, until the end; null for a draft.$$;
comment on column experiment.decision.people is $$Number of counted people in all variations; null for a draft.$$;
comment on column experiment.decision.warnings is $$Warnings; empty when there are none.$$;

create type experiment.policy_value as (
  policy text,
  weights double precision[],
  people bigint,
  mean_weight double precision,
  effective_sample_size double precision,
  ips double precision,
  ips_standard_error double precision,
  snips double precision,
  snips_standard_error double precision
);

comment on type experiment.policy_value is $$
Estimated mean outcome per person under other weights of the variations.
$$;
comment on column experiment.policy_value.policy is $$
Variation that all people get, `equal` for equal weights, or `given` for given ones.
$$;
comment on column experiment.policy_value.weights is $$Weight of each variation.$$;
comment on column experiment.policy_value.people is $$Number of people with an outcome.$$;
comment on column experiment.policy_value.mean_weight is $$
Mean of the weights of people: about 1 when people were assigned by the logged weights.
$$;
comment on column experiment.policy_value.effective_sample_size is $$
Number of people whose outcomes, without weights, would give an estimate of the same precision.
$$;
comment on column experiment.policy_value.ips is $$
Inverse propensity score estimate: mean of weight times outcome.
$$;
comment on column experiment.policy_value.ips_standard_error is $$
Standard error of `ips`; null for fewer than two people, and when all deviations are 0.
$$;
comment on column experiment.policy_value.snips is $$
Self-normalized estimate: sum of weight times outcome, divided by the sum of the weights; null when that is 0.
$$;
comment on column experiment.policy_value.snips_standard_error is $$
Standard error of `snips`; null for fewer than two people, and when all deviations are 0.
$$;

/* --------------------------------------------------------------------------------------------------- exposure -- */

create table experiment.handler (
  room text primary key check (room ~ '^[a-z][a-z_]*$'),
  check_function text check (check_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  ship_function text check (ship_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  exposure_function text check (exposure_function ~ '^[a-z][a-z_]*\.[a-z_]+$'),
  description text not null
);

comment on table experiment.handler is $$
Rooms whose behaviour can be the subject of an experiment, with the functions that `experiment` calls.
The first part of a placement is the name of the room. `insights doctor` checks that the functions exist.
$$;
comment on column experiment.handler.room is $$Schema of the room, such as `recommend`.$$;
comment on column experiment.handler.check_function is $$
Function of `placement text, value jsonb` that refuses a value that the room does not understand; returns void.
$$;
comment on column experiment.handler.ship_function is $$
Function of `placement text, value jsonb` that makes the value of the shipped variation permanent; returns void.
$$;
comment on column experiment.handler.exposure_function is $$
Function of `people bigint[]` that returns the exposures of these people as `setof experiment.exposed`.
$$;
comment on column experiment.handler.description is $$Description of what the room offers to experiments.$$;

create type experiment.exposed as (
  person_id bigint,
  identity_id bigint,
  experiment_id int,
  variation smallint,
  exposed_at timestamptz
);

comment on type experiment.exposed is $$
An exposure that an event or an impression shows; the first one of a person counts.
$$;
comment on column experiment.exposed.person_id is $$Person.$$;
comment on column experiment.exposed.identity_id is $$Identity of the event or impression.$$;
comment on column experiment.exposed.experiment_id is $$Experiment.$$;
comment on column experiment.exposed.variation is $$Position of the variation.$$;
comment on column experiment.exposed.exposed_at is $$Time of the exposure.$$;

create table experiment.exposure (
  person_id bigint not null,
  -- Without a foreign key, whose check takes more time than the insertion. Experiments that have started are kept.
  experiment_id int not null,
  variation smallint,
  exposed_at timestamptz not null,
  exposed_on date not null,
  is_counted boolean not null,
  stratum text,
  probability double precision,
  outcomes numeric[] not null default '{}',
  outcomes_before numeric[] not null default '{}',
  primary key (person_id, experiment_id)
);

comment on table experiment.exposure is $$
@foreignKey (experiment_id) references experiment.experiment (experiment_id)
People who take part in experiments: one row per person and experiment, with the first exposure and the outcomes since.
Derived from the events "Experiment Viewed", from impressions and from the events of the metrics; the rows are always
the same as those of a computation from scratch.
$$;
comment on column experiment.exposure.person_id is $$Person.$$;
comment on column experiment.exposure.experiment_id is $$Experiment.$$;
comment on column experiment.exposure.variation is $$
Position of the variation; null for a person who was exposed to two or more of them, who is not counted.
$$;
comment on column experiment.exposure.exposed_at is $$Time of the first exposure.$$;
comment on column experiment.exposure.exposed_on is $$Day (UTC) of the first exposure.$$;
comment on column experiment.exposure.is_counted is $$Whether the person is in the population of the experiment.$$;
comment on column experiment.exposure.stratum is $$
Value of the trait, or whether the person is in the set, by which results are stratified; null when there is none.
$$;
comment on column experiment.exposure.probability is $$
Weight of the variation at the time of the exposure; null for a person with several variations.
$$;
comment on column experiment.exposure.outcomes is $$
Outcome of each metric, in the order of `experiment.measured.position`.
One number, or two for a ratio (numerator and denominator); for a quantile the number of values.
$$;
comment on column experiment.exposure.outcomes_before is $$
The same, of the period of `before_period` before the exposure.
$$;

create index exposure_experiment on experiment.exposure (experiment_id, exposed_on);

create table experiment.day_sum (
  experiment_id int not null references experiment.experiment on delete cascade,
  position smallint not null,
  variation smallint not null,
  exposed_on date not null,
  stratum text not null,
  people bigint not null check (people >= 0),
  sums numeric[] not null,
  primary key (experiment_id, position, variation, exposed_on, stratum)
);

comment on table experiment.day_sum is $$
@behavior -*
Sufficient statistics of the outcomes of counted people, by metric, variation, day of exposure and stratum.
Sums of numbers without rounding, so that adding and subtracting people gives the sums of a computation from scratch.
$$;
comment on column experiment.day_sum.experiment_id is $$Experiment.$$;
comment on column experiment.day_sum.position is $$
Position of the metric; -1 for the numbers of exposed people.
$$;
comment on column experiment.day_sum.variation is $$
Position of the variation; -1 for people with several, -2 for people who are not counted.
$$;
comment on column experiment.day_sum.exposed_on is $$Day (UTC) of the exposure.$$;
comment on column experiment.day_sum.stratum is $$Stratum; empty when there is none.$$;
comment on column experiment.day_sum.people is $$Number of people.$$;
comment on column experiment.day_sum.sums is $$
Sums over these people, empty for position -1.
Of the outcome y, y², the outcome before x, x² and xy. For a ratio of the numerator m and the denominator d, with M
and D before: m, m², M, M², mM, d, d², D, D², dD, md, mD, Md and MD.
$$;

create table experiment.period_sum (
  experiment_id int not null references experiment.experiment on delete cascade,
  since timestamptz not null,
  variation smallint not null,
  people bigint not null check (people > 0),
  primary key (experiment_id, since, variation)
);

comment on table experiment.period_sum is $$
@behavior -*
Numbers of counted people of each variation, by the weights at their exposure.
So that `experiment.health` costs the number of changes of the weights, not of people.
$$;
comment on column experiment.period_sum.experiment_id is $$Experiment.$$;
comment on column experiment.period_sum.since is $$Time from which the weights applied: `experiment.weighting.since`.$$;
comment on column experiment.period_sum.variation is $$Position of the variation.$$;
comment on column experiment.period_sum.people is $$Number of people.$$;

create type experiment.drawn as (
  users float8[],
  expected float8[],
  covariances float8[]
);

comment on type experiment.drawn is $$
@behavior -*
Numbers of people of the variations of an experiment, and what its weights make expect of them.
Of a part of the time, added up over the periods between two changes of the weights.
$$;
comment on column experiment.drawn.users is $$People of each variation whose weight was above 0.$$;
comment on column experiment.drawn.expected is $$Expected number of each.$$;
comment on column experiment.drawn.covariances is $$
Covariances of the numbers, row by row: the sum of n (diag(w) - w w') over the periods.
$$;

create table experiment.kept (
  experiment_id int primary key references experiment.experiment on delete cascade,
  kept_at timestamptz not null default clock_timestamp(),
  quantiles jsonb not null default '[]',
  drawn experiment.drawn[]
);

comment on table experiment.kept is $$
Ended experiments whose results are kept: they no longer follow events. See `experiment.keep_results`.
$$;
comment on column experiment.kept.experiment_id is $$Experiment.$$;
comment on column experiment.kept.kept_at is $$Time as of which the results are.$$;
comment on column experiment.kept.quantiles is $$
Statistics of quantile metrics of at least 5 people: `position`, `variation`, `is_complete`, `people`, `statistic`.
$$;
comment on column experiment.kept.drawn is $$
@behavior -*
Numbers by which `experiment.health` tests the assignment, by part of the time.
Of at least 5 people per variation; null with fewer.
$$;

create table experiment.kept_sum (
  experiment_id int not null references experiment.kept on delete cascade,
  position smallint not null,
  variation smallint not null,
  exposed_on date not null,
  stratum text not null,
  people bigint not null check (people >= 5),
  sums numeric[] not null,
  primary key (experiment_id, position, variation, exposed_on, stratum)
);

comment on table experiment.kept_sum is $$
@behavior -*
Sums of `experiment.day_sum` that are kept, each of at least 5 people: days and strata with fewer are added up.
$$;
comment on column experiment.kept_sum.experiment_id is $$Experiment.$$;
comment on column experiment.kept_sum.position is $$Position of the metric; -1 for the numbers of exposed people.$$;
comment on column experiment.kept_sum.variation is $$
Position of the variation; -1 for people with several, -2 for people who are not counted.
$$;
comment on column experiment.kept_sum.exposed_on is $$Day (UTC) of the exposure: the last one of those added up.$$;
comment on column experiment.kept_sum.stratum is $$Stratum; empty without stratification.$$;
comment on column experiment.kept_sum.people is $$Number of people.$$;
comment on column experiment.kept_sum.sums is $$As in `experiment.day_sum.sums`.$$;

create table experiment.event_value (
  person_id bigint not null,
  experiment_id int not null,
  position smallint not null,
  event_values numeric[] not null check (event_values <> '{}'),
  primary key (person_id, experiment_id, position)
);

comment on table experiment.event_value is $$
@behavior -*
@foreignKey (experiment_id) references experiment.experiment (experiment_id)
Values of the events of people in quantile metrics: a quantile is not a function of sums.
One row per person, experiment and metric with values, beside the row of `experiment.exposure`.
$$;
comment on column experiment.event_value.person_id is $$Person.$$;
comment on column experiment.event_value.experiment_id is $$Experiment.$$;
comment on column experiment.event_value.position is $$Position of the metric.$$;
comment on column experiment.event_value.event_values is $$Values of the events since the exposure, ascending.$$;

create index event_value_experiment on experiment.event_value (experiment_id, position);

create type experiment.exposure_check as (
  experiment text,
  people int,
  wrong_people int,
  sums int,
  wrong_sums int
);

comment on type experiment.exposure_check is $$
The result of a check of exposures and sums; see `experiment.check_exposures`.
$$;
comment on column experiment.exposure_check.experiment is $$Experiment.$$;
comment on column experiment.exposure_check.people is $$Number of people whose exposures were recomputed.$$;
comment on column experiment.exposure_check.wrong_people is $$
Number of people whose exposures differed; they are queued for a refresh.
$$;
comment on column experiment.exposure_check.sums is $$Number of rows of sums that were recomputed.$$;
comment on column experiment.exposure_check.wrong_sums is $$Number of rows of sums that differed; they were replaced.$$;

create type experiment.slot as (
  experiment_id int,
  place int,
  position smallint,
  reading text,
  event_type_ids int[],
  item_id bigint,
  property_filter jsonb,
  value_property text,
  cap numeric,
  delay interval,
  period interval,
  ends_at timestamptz,
  before_period interval,
  is_stepped boolean
);

comment on type experiment.slot is $$
An outcome of an experiment: of a metric, or of the numerator or denominator of a ratio.
$$;
comment on column experiment.slot.experiment_id is $$Experiment.$$;
comment on column experiment.slot.place is $$Place in `experiment.exposure.outcomes`, from 1.$$;
comment on column experiment.slot.position is $$Position of the metric.$$;
comment on column experiment.slot.reading is $$
`any` (1 when there is an event), `count` (events), `sum` (of values) or `values` (number of values).
$$;
comment on column experiment.slot.event_type_ids is $$Types of the events.$$;
comment on column experiment.slot.item_id is $$Item of the events; null: any.$$;
comment on column experiment.slot.property_filter is $$Condition on the properties of the events; null: none.$$;
comment on column experiment.slot.value_property is $$Property with the value; null: each event has the value 1.$$;
comment on column experiment.slot.cap is $$Maximum of the outcome of a person; null: no limit.$$;
comment on column experiment.slot.delay is $$Time after the exposure from which events count.$$;
comment on column experiment.slot.period is $$Period after the delay; null: until the end of the experiment.$$;
comment on column experiment.slot.ends_at is $$End of the experiment; `infinity` while it runs.$$;
comment on column experiment.slot.before_period is $$Period before the exposure.$$;
comment on column experiment.slot.is_stepped is $$Whether `track.step` has all that the outcome needs.$$;

insert into track.consumer (consumer, position, refresh, inputs, description, reads_set, incomplete_sets)
values (
  'experiment.exposure', 101, 'experiment.refresh_exposures', '{event,decision,identity,trait,set}',
  'The exposures of people to experiments, with their outcomes.', 'experiment.reads_set', 'experiment.incomplete_sets'
);

insert into privacy.handler (room, position, erase_function, description)
values (
  'experiment', 15, 'experiment.erase', 'Exposures and outcomes in experiments, and names of authors of changes.'
);

insert into track.event_type (name, is_automatic, description)
values ('Experiment Viewed', true, 'The person was shown a variation of an experiment.');

insert into track.person_set (name, description, members)
values (
  'visitors', 'All people who are not excluded, signed in or not: those that an experiment on visitors counts.',
  'experiment.visitors'
);

/* --------------------------------------------------------------------------------------------------- results -- */

create table experiment.setting (
  only_row boolean primary key default true check (only_row),
  smallest_group int not null default 5 check (smallest_group > 0),
  settle_period interval not null default '2 days' check (settle_period >= '0')
);

comment on table experiment.setting is $$
Settings of this room: one row.
$$;
comment on column experiment.setting.only_row is $$Always true: the table has one row.$$;
comment on column experiment.setting.smallest_group is $$
Number of people in each variation below which analysts see no results; 1 shows all.
$$;
comment on column experiment.setting.settle_period is $$
Time after the end of an experiment in which late events still count; afterwards its results are kept.
$$;

insert into experiment.setting default values;

create type experiment.result as (
  metric text,
  role text,
  type text,
  variation text,
  people bigint,
  figure double precision,
  figure_stddev double precision,
  effect double precision,
  stddev double precision,
  low double precision,
  high double precision,
  p double precision,
  adjusted_p double precision,
  chance_to_win double precision,
  risk double precision,
  verdict text,
  variance_reduction double precision,
  difference text,
  test text,
  alpha double precision,
  population text,
  complete_until date,
  note text,
  variation_number smallint
);

comment on type experiment.result is $$
The result of a metric in a variation, compared with the control.
$$;
comment on column experiment.result.metric is $$Metric.$$;
comment on column experiment.result.role is $$`goal`, `secondary` or `guardrail`.$$;
comment on column experiment.result.type is $$Type of the metric.$$;
comment on column experiment.result.variation is $$Variation.$$;
comment on column experiment.result.people is $$Number of people; of a quantile those with values.$$;
comment on column experiment.result.figure is $$
Figure of the variation: share, mean per person, ratio or quantile, without an adjustment; null without people.
$$;
comment on column experiment.result.figure_stddev is $$
Standard deviation of the outcome of a person; of a ratio and a quantile null.
$$;
comment on column experiment.result.effect is $$
Difference to the control, relative (0.1 is 10 % more) or absolute, adjusted by the behaviour before the exposure.
Null for the control, and when there is no result (see `note`).
$$;
comment on column experiment.result.stddev is $$Standard error of the effect.$$;
comment on column experiment.result.low is $$Lower bound of the interval of the effect; null: no bound.$$;
comment on column experiment.result.high is $$Upper bound of the interval of the effect; null: no bound.$$;
comment on column experiment.result.p is $$p-value of the effect; null for the test `bayesian`.$$;
comment on column experiment.result.adjusted_p is $$
p-value with the correction of the experiment for several goals and variations; null for other metrics than goals.
$$;
comment on column experiment.result.chance_to_win is $$
Probability that the variation is better than the control; null for other tests than `bayesian`.
$$;
comment on column experiment.result.risk is $$
Expected loss of choosing the variation; null for other tests than `bayesian`.
$$;
comment on column experiment.result.verdict is $$
`better`, `worse` or `unclear`; of a guardrail `safe`, `harm` or `unclear`; null for the control.
Guardrails and variations share the level of `harm`.
$$;
comment on column experiment.result.variance_reduction is $$
Share of the variance that the behaviour before the exposure explains (CUPED); null when there is no adjustment.
$$;
comment on column experiment.result.difference is $$`relative` or `absolute`.$$;
comment on column experiment.result.test is $$`welch`, `sequential` or `bayesian`.$$;
comment on column experiment.result.alpha is $$Significance level.$$;
comment on column experiment.result.population is $$Set of people that are counted.$$;
comment on column experiment.result.complete_until is $$
Last day of exposure that is contained; null for a metric without period and delay: all days are.
$$;
comment on column experiment.result.note is $$Why there is no result, or a warning; null otherwise.$$;
comment on column experiment.result.variation_number is $$Position of the variation.$$;

create type experiment.arm as (
  position smallint,
  variation smallint,
  stratum text,
  people bigint,
  statistic jsonb,
  adjusted jsonb
);

comment on type experiment.arm is $$
The outcomes of the people of a variation, as the functions of the statistics read them.
$$;
comment on column experiment.arm.position is $$Position of the metric.$$;
comment on column experiment.arm.variation is $$Position of the variation.$$;
comment on column experiment.arm.stratum is $$Stratum; null: all people.$$;
comment on column experiment.arm.people is $$Number of people.$$;
comment on column experiment.arm.statistic is $$Statistic; see `experiment.compare`.$$;
comment on column experiment.arm.adjusted is $$
The same with the period before the exposure; without it where there is none.
$$;

create type experiment.health as (
  experiment text,
  state text,
  population text,
  first_day date,
  last_day date,
  variations text[],
  people bigint[],
  expected double precision[],
  srm_p double precision,
  is_mismatched boolean,
  multiple bigint,
  not_counted bigint,
  warnings text[],
  as_of timestamptz
);

comment on type experiment.health is $$
How many people an experiment has exposed, and whether they are distributed as planned.
$$;
comment on column experiment.health.experiment is $$Experiment.$$;
comment on column experiment.health.state is $$State of the experiment.$$;
comment on column experiment.health.population is $$Set of people that are counted.$$;
comment on column experiment.health.first_day is $$First day (UTC) with exposures; null without any.$$;
comment on column experiment.health.last_day is $$Last day (UTC) with exposures; null without any.$$;
comment on column experiment.health.variations is $$Variations, in their order.$$;
comment on column experiment.health.people is $$Number of counted people of each variation.$$;
comment on column experiment.health.expected is $$
Expected number of people of each variation, from the weights of each day. Days on which they changed are not contained.
$$;
comment on column experiment.health.srm_p is $$
p-value of a sample ratio mismatch, from the days of `expected`; null without people.
$$;
comment on column experiment.health.is_mismatched is $$
Whether `srm_p` is below 0.001: assignment or logging is broken, and the results should not be used.
$$;
comment on column experiment.health.multiple is $$
Number of people who were exposed to several variations: they are not counted.
$$;
comment on column experiment.health.not_counted is $$
Number of people who are not in the population of the experiment.
$$;
comment on column experiment.health.warnings is $$Warnings; empty when there are none.$$;
comment on column experiment.health.as_of is $$
Time as of which the results of an ended experiment are kept (`experiment.keep_results`); null: they follow the events.
$$;

/* ---------------------------------------------------------------------------------------------------- history -- */

create table experiment.change (
  change_id uuid primary key default gen_random_uuid(),
  changed_at timestamptz not null default clock_timestamp(),
  subject text not null check (subject in ('experiment', 'feature', 'metric', 'layer', 'holdout')),
  key text not null,
  action text not null,
  actor text not null,
  before jsonb,
  after jsonb
);

comment on table experiment.change is $$
History of experiments, features, metrics, layers and holdouts: each change with its actor, append-only.
$$;
comment on column experiment.change.change_id is $$Key of the change.$$;
comment on column experiment.change.changed_at is $$Time of the change.$$;
comment on column experiment.change.subject is $$Kind of the object that changed.$$;
comment on column experiment.change.key is $$Key of the object that changed.$$;
comment on column experiment.change.action is $$Change, such as `defined`, `started` or `weights changed`.$$;
comment on column experiment.change.actor is $$
Person who made the change: the signed-in person, the task, or else the login of the database.
$$;
comment on column experiment.change.before is $$Values before the change; null for a new object.$$;
comment on column experiment.change.after is $$Values after the change; null for a deleted object.$$;

create index change_subject on experiment.change (subject, key, changed_at);

/* --------------------------------------------------------------------------------------------------- design -- */

create type experiment.assigned as (
  experiment_id int,
  experiment_key text,
  variation smallint,
  value jsonb,
  probability double precision
);

comment on type experiment.assigned is $$
Variation of a person in the experiment on a placement.
$$;
comment on column experiment.assigned.experiment_id is $$Experiment.$$;
comment on column experiment.assigned.experiment_key is $$Name of the experiment.$$;
comment on column experiment.assigned.variation is $$
Position of the variation; null for a person who does not take part.
$$;
comment on column experiment.assigned.value is $$
Value of the variation, or of the control for a person who does not take part.
$$;
comment on column experiment.assigned.probability is $$
Present weight of the variation; null for a person who does not take part.
$$;

create type experiment.assignment as (
  person text,
  result jsonb
);

comment on type experiment.assignment is $$
A person of `experiment.assign_all` with her variation.
$$;
comment on column experiment.assignment.person is $$Name of the person, as it was given.$$;
comment on column experiment.assignment.result is $$Result, as of `experiment.assign`.$$;

/* ------------------------------------------------------------------------------------------------- statistics -- */

create type experiment.statistic as (
  type text,
  is_adjusted boolean,
  n numeric,
  is_binary boolean[],
  sums numeric[],
  products numeric[],
  theta float8,
  n_star numeric,
  level float8,
  quantile_hat float8,
  quantile_lower float8,
  quantile_upper float8,
  n_clusters numeric
);

comment on type experiment.statistic is $$
@behavior -*
Sufficient statistics of a metric in one arm: a checked `statistic` of `experiment.compare`.
A proportion or mean has one variable, a ratio two (numerator, denominator). With the time before the exposure, the same
variables of that time follow.
$$;
comment on column experiment.statistic.type is $$`proportion`, `mean`, `ratio` or `quantile`.$$;
comment on column experiment.statistic.is_adjusted is $$
Whether the second half of the variables is of the time before the exposure.
$$;
comment on column experiment.statistic.n is $$Number of users; of a quantile, of its events or users.$$;
comment on column experiment.statistic.is_binary is $$Whether each variable is a proportion.$$;
comment on column experiment.statistic.sums is $$
Sum of each variable; of a clustered quantile, the main and the denominator sum.
$$;
comment on column experiment.statistic.products is $$
Sums of products of each two variables, row by row.
$$;
comment on column experiment.statistic.theta is $$
Coefficient of the time before the exposure; null: computed from both arms.
$$;
comment on column experiment.statistic.n_star is $$
Of a quantile: number of observations for which its bounds were computed.
$$;
comment on column experiment.statistic.level is $$Of a quantile: its level, such as 0.9 (`nu`).$$;
comment on column experiment.statistic.quantile_hat is $$Of a quantile: its estimate.$$;
comment on column experiment.statistic.quantile_lower is $$Of a quantile: lower bound of its 95 % interval.$$;
comment on column experiment.statistic.quantile_upper is $$Of a quantile: upper bound of its 95 % interval.$$;
comment on column experiment.statistic.n_clusters is $$
Of a quantile: number of users of whom the events are; null when each is an observation of its own.
$$;

create type experiment.estimate as (
  n float8,
  mean float8,
  unadjusted_mean float8,
  variance float8,
  gradient float8[],
  covariances float8[]
);

comment on type experiment.estimate is $$
@behavior -*
Moments of a metric in one arm, with what the delta method needs.
$$;
comment on column experiment.estimate.n is $$Number of users.$$;
comment on column experiment.estimate.mean is $$Mean, adjusted by the time before the exposure.$$;
comment on column experiment.estimate.unadjusted_mean is $$Mean without adjustment.$$;
comment on column experiment.estimate.variance is $$Variance of one observation; divided by `n`, of the mean.$$;
comment on column experiment.estimate.gradient is $$Derivatives of the mean by the means of the variables.$$;
comment on column experiment.estimate.covariances is $$Covariances of the variables, row by row.$$;

create type experiment.effect as (
  effect float8,
  stddev float8,
  degrees float8,
  users float8,
  control_mean float8,
  is_post_stratified boolean
);

comment on type experiment.effect is $$
@behavior -*
Difference of two arms with its standard error.
$$;
comment on column experiment.effect.effect is $$Difference, absolute or relative to the control.$$;
comment on column experiment.effect.stddev is $$Standard error of the difference.$$;
comment on column experiment.effect.degrees is $$Degrees of freedom by Satterthwaite's formula.$$;
comment on column experiment.effect.users is $$Number of users of both arms.$$;
comment on column experiment.effect.control_mean is $$Mean of the control without adjustment.$$;
comment on column experiment.effect.is_post_stratified is $$Whether the difference is weighted by strata.$$;

create type experiment.cell as (
  users float8,
  means float8[],
  covariances float8[]
);

comment on type experiment.cell is $$
@behavior -*
Control mean and difference in a stratum; of a ratio, those of the numerator and then of the denominator.
$$;
comment on column experiment.cell.users is $$Number of users of both arms.$$;
comment on column experiment.cell.means is $$Control mean and difference of each variable.$$;
comment on column experiment.cell.covariances is $$Covariances of the means times the number of users, row by row.$$;

create type experiment.comparison as (
  test text,
  side text,
  difference text,
  alpha float8,
  tuning float8,
  prior_mean float8,
  prior_variance float8,
  prior_is_proper boolean,
  prior_type text,
  is_inverse boolean,
  traffic float8,
  days float8,
  users float8,
  is_pooled boolean,
  margin float8
);

comment on type experiment.comparison is $$
@behavior -*
Options of `experiment.compare`, checked and with defaults.
$$;
comment on column experiment.comparison.test is $$`welch`, `sequential` or `bayesian`.$$;
comment on column experiment.comparison.side is $$`both`, `greater` or `less`.$$;
comment on column experiment.comparison.difference is $$`relative`, `absolute` or `scaled`.$$;
comment on column experiment.comparison.alpha is $$Probability that the interval misses the difference.$$;
comment on column experiment.comparison.tuning is $$
Number of users for which the sequential interval is narrowest.
$$;
comment on column experiment.comparison.prior_mean is $$Mean of the prior of the difference.$$;
comment on column experiment.comparison.prior_variance is $$Variance of the prior of the difference.$$;
comment on column experiment.comparison.prior_is_proper is $$Whether there is a prior; otherwise it is flat.$$;
comment on column experiment.comparison.prior_type is $$
Whether the prior is of the `relative` or the `absolute` difference.
$$;
comment on column experiment.comparison.is_inverse is $$Whether less is better.$$;
comment on column experiment.comparison.traffic is $$Share of the traffic in the experiment, for `scaled`.$$;
comment on column experiment.comparison.days is $$Length of the experiment in days, for `scaled`.$$;
comment on column experiment.comparison.users is $$Users of all arms, for `scaled`.$$;
comment on column experiment.comparison.is_pooled is $$Whether strata are added up.$$;
comment on column experiment.comparison.margin is $$
Difference, as a share of the control, with which the difference is compared; null: 0.
$$;

create type experiment.plan as (
  type text,
  mean float8,
  variance float8,
  explained float8,
  test text,
  side text,
  difference text,
  alpha float8,
  tuning float8,
  power float8,
  allocation float8
);

comment on type experiment.plan is $$
@behavior -*
Baseline and options of the power functions, checked and with defaults.
$$;
comment on column experiment.plan.type is $$`proportion`, `mean` or `ratio`.$$;
comment on column experiment.plan.mean is $$Mean of the control.$$;
comment on column experiment.plan.variance is $$Variance of one observation of the control, without adjustment.$$;
comment on column experiment.plan.explained is $$
Share of the variance that the time before the exposure explains, from 0 to 1.
$$;
comment on column experiment.plan.test is $$`welch` or `sequential`.$$;
comment on column experiment.plan.side is $$`both`, `greater` or `less`.$$;
comment on column experiment.plan.difference is $$`relative` or `absolute`.$$;
comment on column experiment.plan.alpha is $$Probability of a false positive.$$;
comment on column experiment.plan.tuning is $$
Number of users for which the sequential interval is narrowest.
$$;
comment on column experiment.plan.power is $$Power to reach.$$;
comment on column experiment.plan.allocation is $$Users of the treatment for each user of the control.$$;

/* ------------------------------------------------------------------------------------- in the other rooms' lists -- */

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values
  ('experiment', 'exposure', 'person_id', 'track.event', 'Exposures and outcomes of people.'),
  ('experiment', 'event_value', 'person_id', 'track.event', 'Values of people in quantile metrics.');

alter table experiment.layer enable row level security;
alter table experiment.holdout enable row level security;
alter table experiment.feature enable row level security;
alter table experiment.experiment enable row level security;
alter table experiment.variation enable row level security;
alter table experiment.weighting enable row level security;
alter table experiment.metric enable row level security;
alter table experiment.measured enable row level security;
alter table experiment.metric_event enable row level security;
alter table experiment.handler enable row level security;
alter table experiment.exposure enable row level security;
alter table experiment.event_value enable row level security;
alter table experiment.day_sum enable row level security;
alter table experiment.period_sum enable row level security;
alter table experiment.kept enable row level security;
alter table experiment.kept_sum enable row level security;
alter table experiment.change enable row level security;
alter table experiment.setting enable row level security;

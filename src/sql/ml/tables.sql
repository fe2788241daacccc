create schema ml;

comment on schema ml is $$
Linear algebra on pgvector, regression, trees and clustering in MADlib's names, and the model registry. Knows no learner and no course.
$$;

grant usage on schema ml to insights_reader, insights_analyst, insights_admin, insights_worker;

create table ml.project (
  project_id int generated always as identity primary key,
  name text not null unique check (name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$'),
  task text not null check (task in ('recommendation', 'regression', 'classification', 'survival', 'clustering', 'forecast')),
  metric text not null,
  higher_is_better boolean not null default true,
  created_at timestamptz not null default now(),
  description text
);

comment on table ml.project is $$
A question that models answer, such as `recommend.course`: its versions compete by one metric, one of them is deployed.
$$;
comment on column ml.project.project_id is $$Key of the project.$$;
comment on column ml.project.name is $$Name by which it is asked for, lower case, dots allowed.$$;
comment on column ml.project.task is $$Kind of question: `recommendation`, `regression`, `classification`, `survival`, `clustering` or `forecast`.$$;
comment on column ml.project.metric is $$Key in `ml.model.metrics` by which versions are compared.$$;
comment on column ml.project.higher_is_better is $$Whether a larger metric is a better model.$$;
comment on column ml.project.created_at is $$When the project was made.$$;
comment on column ml.project.description is $$What the project predicts.$$;

create table ml.model (
  model_id bigint generated always as identity primary key,
  project_id int not null references ml.project,
  version int not null check (version > 0),
  algorithm text not null,
  parameters jsonb not null default '{}',
  metrics jsonb not null default '{}',
  coefficients jsonb,
  seed bigint,
  data_watermark timestamptz,
  row_count bigint,
  trained_at timestamptz not null default clock_timestamp(),
  duration interval,
  unique (project_id, version)
);

comment on table ml.model is $$
A trained version of a project: what it was trained with, on which data, and how well it did.
A version is written by the transaction that trains it, so there is no half-trained one.
$$;
comment on column ml.model.model_id is $$Key of the version among all projects.$$;
comment on column ml.model.project_id is $$Project that it is a version of.$$;
comment on column ml.model.version is $$1, 2, 3, … within the project.$$;
comment on column ml.model.algorithm is $$Method, by the name of its function or paper, such as `ease`.$$;
comment on column ml.model.parameters is $$Hyperparameters of the training.$$;
comment on column ml.model.metrics is $$Measured quality, one key a metric.$$;
comment on column ml.model.coefficients is $$The model itself where it is small; large ones lie in tables of their own, keyed by `model_id`.$$;
comment on column ml.model.seed is $$Seed of every random choice: the same seed and data give the same model.$$;
comment on column ml.model.data_watermark is $$Time of the newest event that the training saw.$$;
comment on column ml.model.row_count is $$How many rows it was trained on.$$;
comment on column ml.model.trained_at is $$End of the training.$$;
comment on column ml.model.duration is $$Time that the training took.$$;

create table ml.deployment (
  deployment_id bigint generated always as identity primary key,
  project_id int not null references ml.project,
  model_id bigint not null references ml.model,
  strategy text not null check (strategy in ('first', 'better', 'newest', 'manual', 'rollback')),
  deployed_at timestamptz not null default clock_timestamp()
);

comment on table ml.deployment is $$
Which version answered since when; the latest row of a project is in force.
$$;
comment on column ml.deployment.deployment_id is $$Key, ascending with time.$$;
comment on column ml.deployment.project_id is $$Project.$$;
comment on column ml.deployment.model_id is $$Version that was put in force.$$;
comment on column ml.deployment.strategy is $$Why: `first` version, `better` metric, `newest` data, `manual`, or `rollback`.$$;
comment on column ml.deployment.deployed_at is $$Since when.$$;

create index deployment_project on ml.deployment (project_id, deployment_id desc);
create index deployment_model on ml.deployment (model_id);

alter table ml.project enable row level security;
alter table ml.model enable row level security;
alter table ml.deployment enable row level security;

create type ml.ease_row as (item_no int, item text, weights vector, inverse vector);

comment on type ml.ease_row is $$
An item of an EASE model: its place in all the vectors of the model, its name, its row of the weights B and its row of P = (XᵀX + λI)⁻¹.
$$;

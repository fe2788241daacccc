-- Changes of structure since the last release: see migrations/README.md.

create table if not exists ml.calibration (
  model_id bigint not null references ml.model on delete cascade,
  part text not null check (part in ('held out', 'latest')),
  class_number int not null check (class_number >= 0),
  bin int not null check (bin > 0),
  class text,
  row_count bigint not null,
  mean_predicted float8 not null,
  fraction_positive float8 not null,
  fraction_lower float8 not null,
  fraction_upper float8 not null,
  measured_at timestamptz not null default clock_timestamp(),
  primary key (model_id, part, class_number, bin),
  check ((class is null) = (class_number = 0))
);

comment on table ml.calibration is $$
Predicted probabilities of a version against what was observed, in bins of equal numbers of rows.
A bin has 20 rows or more; with fewer than 40 rows, there is none. Versions that predict no probability have none.
$$;
comment on column ml.calibration.model_id is $$Version.$$;
comment on column ml.calibration.part is $$
Rows that it was measured on.
`held out`: in its training or last comparison; `latest`: those with a known outcome when its drift was measured.
$$;
comment on column ml.calibration.class_number is $$
Number of the class, from 1, in a model of several classes; 0: the model has two, and predicts the probability of one.
$$;
comment on column ml.calibration.bin is $$1, 2, 3, … by rising probability.$$;
comment on column ml.calibration.class is $$Name of the class; null for models of two classes.$$;
comment on column ml.calibration.row_count is $$Number of rows in the bin.$$;
comment on column ml.calibration.mean_predicted is $$Mean of the predicted probabilities.$$;
comment on column ml.calibration.fraction_positive is $$Share of the rows in which the class was observed.$$;
comment on column ml.calibration.fraction_lower is $$Lower end of the 95 % Wilson interval of that share.$$;
comment on column ml.calibration.fraction_upper is $$Upper end of it.$$;
comment on column ml.calibration.measured_at is $$When.$$;

alter table ml.calibration enable row level security;

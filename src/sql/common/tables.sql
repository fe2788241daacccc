create schema common;

comment on schema common is $$
Functions that all schemas use: errors, checks of arguments, and names given by a caller.
Not part of the API.
$$;

grant usage on schema common to insights_reader, insights_visitor, insights_learner,
  insights_analyst, insights_admin, insights_worker;

/* Everything that can be replayed, in dependency order: functions, views, policies. A room reaches only rooms above it. */
--!include prepare.sql

-- ml
--!include ml/functions/_source.sql
--!include ml/functions/_assess.sql
--!include ml/functions/mean_abs_error.sql
--!include ml/functions/mean_squared_error.sql
--!include ml/functions/root_mean_squared_error.sql
--!include ml/functions/mean_perc_error.sql
--!include ml/functions/mean_abs_perc_error.sql
--!include ml/functions/r2_score.sql
--!include ml/functions/adjusted_r2_score.sql
--!include ml/functions/log_loss.sql
--!include ml/functions/brier_score.sql
--!include ml/functions/area_under_roc.sql
--!include ml/functions/average_precision.sql
--!include ml/functions/binary_classifier.sql
--!include ml/functions/confusion_matrix.sql
--!include ml/functions/calibration_curve.sql
--!include ml/functions/lift.sql
--!include ml/functions/bootstrap_interval.sql
--!include ml/policies.sql
--!include ml/functions/_matrix.sql
--!include ml/functions/transpose.sql
--!include ml/functions/multiply_transposed.sql
--!include ml/functions/multiply.sql
--!include ml/functions/gram.sql
--!include ml/functions/inverse.sql
--!include ml/functions/rank_one_update.sql
--!include ml/functions/ease_weights.sql
--!include ml/functions/ease_train.sql

-- privacy
--!include privacy/functions/allowed.sql
--!include privacy/functions/record_consent.sql
--!include privacy/views.sql
--!include privacy/policies.sql

-- track
--!include track/functions/current_person_id.sql
--!include track/functions/find_person.sql
--!include track/functions/make_partitions.sql
--!include track/functions/item_ancestors.sql
--!include track/functions/link_identities.sql
--!include track/functions/unlink_identities.sql
--!include track/functions/ingest.sql
--!include track/functions/refresh_sessions.sql
--!include track/functions/rebuild.sql
--!include track/functions/journey.sql
--!include track/functions/sync_items.sql
--!include track/functions/sync_enrolments.sql
--!include track/functions/record_my_consent.sql
--!include track/policies.sql

-- experiment

-- analytics
--!include analytics/functions/check_period.sql
--!include analytics/functions/refresh_activity.sql
--!include analytics/functions/refresh_views.sql
--!include analytics/functions/popular_items.sql
--!include analytics/functions/trend.sql
--!include analytics/policies.sql

-- recommend

-- monitor
--!include monitor/functions/start_run.sql
--!include monitor/functions/finish_run.sql
--!include monitor/functions/fail_run.sql
--!include monitor/policies.sql

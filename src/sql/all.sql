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

-- privacy

-- track

-- experiment

-- analytics

-- recommend

-- monitor

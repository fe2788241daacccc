"""Trains scikit-learn on a training set of ml.export_training_set and prints a document for ml.import_model.

    insights sql "copy (select ml.export_training_set('app.learners', 'id', 'dropped')) to stdout" > training.csv
    python3 examples/train_with_sklearn.py logistic < training.csv > model.json    # format logistic
    python3 examples/train_with_sklearn.py boosting < training.csv > model.json    # format xgboost

`predictions` holds scikit-learn's own probabilities of the rows held out, to compare with those of ml.predict.
"""

import csv
import json
import sys

import numpy
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

method = sys.argv[1]
head, *rows = csv.reader(sys.stdin)
names = head[3:]
part = numpy.array([row[0] for row in rows])
ids = [row[1] for row in rows]
label = numpy.array([float(row[2]) for row in rows])
features = numpy.array([[float(value) if value else numpy.nan for value in row[3:]] for row in rows])
training = part != "holdout"
means = numpy.nanmean(features[training], axis=0)
features = numpy.where(numpy.isnan(features), means, features)


def tree(fitted, node, rate):
    """A node in the form of XGBoost's JSON dump."""
    inner = fitted.tree_
    cover = float(inner.weighted_n_node_samples[node])
    if inner.children_left[node] < 0:
        return {"nodeid": int(node), "leaf": float(rate * inner.value[node][0][0]), "cover": cover}
    column, threshold = inner.feature[node], inner.threshold[node]
    # scikit-learn goes left up to the threshold, XGBoost below it; both see features in four bytes.
    below = numpy.float32(threshold)
    if below > threshold:
        below = numpy.nextafter(below, numpy.float32(-numpy.inf))
    left, right = inner.children_left[node], inner.children_right[node]
    return {
        "nodeid": int(node),
        "split": names[column],
        "split_condition": float(numpy.nextafter(below, numpy.float32(numpy.inf))),
        "yes": int(left),
        "no": int(right),
        "missing": int(left if numpy.float32(means[column]) <= threshold else right),
        "cover": cover,
        "children": [tree(fitted, left, rate), tree(fitted, right, rate)],
    }


if method == "logistic":
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10, max_iter=1000))
    model.fit(features[training], label[training])
    scaler, regression = model.steps[0][1], model.steps[1][1]
    coefficients = regression.coef_[0] / scaler.scale_
    document = {
        "intercept": float(regression.intercept_[0] - coefficients @ scaler.mean_),
        "coefficients": dict(zip(names, map(float, coefficients))),
        "means": dict(zip(names, map(float, means))),
    }
else:
    model = GradientBoostingClassifier(n_estimators=30, max_depth=3, learning_rate=0.2, random_state=1)
    model.fit(features[training], label[training])
    document = {
        "objective": "binary:logistic",
        # The trees count alike: scikit-learn's leaves are not XGBoost's, by which it would be recognized.
        "booster": "gbtree",
        "base_score": float(label[training].mean()),
        "trees": [tree(step[0], 0, model.learning_rate) for step in model.estimators_],
    }

held = numpy.flatnonzero(~training)
document["predictions"] = dict(zip([ids[i] for i in held], map(float, model.predict_proba(features[held])[:, 1])))
json.dump(document, sys.stdout)

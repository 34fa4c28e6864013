"""Classify sequences of unequal length, at their end and after every sample. Needs the extra `tasks`."""

import numpy as np

import aaren
from aaren.data.labelled import load_train_and_test
from aaren.train import Recipe

train, test = load_train_and_test("JapaneseVowels")  # lists of arrays (channels, time_i), and labels
classifier = aaren.Classifier(layer="aaren", recipe=Recipe(updates=200))
classifier.fit(train.cases, train.labels)
print(f"accuracy on the test part: {classifier.score(test.cases, test.labels):.3f}")

stream = classifier.stream()
for sample in test.cases[0].T:
    probabilities = stream.push(sample)
print("after the last sample:", classifier.classes_[int(probabilities.argmax())], "- true class:", test.labels[0])
whole = classifier.predict_proba(test.cases[:1])[0]
print(f"the stream differs from predict_proba by {np.abs(probabilities.numpy() - whole).max():.1e}")

"""The script that `evaluate.load` reads: every metric, chosen by its configuration name.

    evaluate.load(prospect_eval.metrics.hf_evaluate.MODULE, "matched_f1")

It is copied by `evaluate` and holds nothing but the class; everything else is in `prospect_eval.metrics.hf_evaluate`.
"""

from prospect_eval.metrics import hf_evaluate


class ProspectMetric(hf_evaluate.StoredMetric):
    """One metric of PROSPECT."""

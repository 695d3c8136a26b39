"""Script that `evaluate.load` reads: every metric of PROSPECT, selected by configuration name.

    evaluate.load(prospect_eval.metrics.hf_evaluate.MODULE, "matched_f1")

`evaluate` copies this file, so it holds only the class. The implementation is in
`prospect_eval.metrics.hf_evaluate`.
"""

from prospect_eval.metrics import hf_evaluate


class ProspectMetric(hf_evaluate.StoredMetric):
    """One metric of PROSPECT."""

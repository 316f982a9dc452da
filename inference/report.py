"""One JSON shape for every way out: command line, API, stored record; and GeoJSON for maps."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from shapely.geometry import Polygon, mapping

from datasets.raster import Raster
from inference.findings import KINDS, Assessment, Finding, Verdict
from inference.reasons import Reason
from inference.vectorise import outlines


def report(assessment: Assessment) -> dict[str, Any]:
    """Everything about an assessment but its pictures, ready for JSON. Codes, never sentences."""
    verdict, pair = assessment.verdict, assessment.pair
    registration = pair.registration if pair else None
    return {
        "kind": assessment.kind,
        "verdict": {
            "kind": verdict.kind.value,
            "reasons": [_reason(r) for r in verdict.reasons],
            "notes": [_reason(r) for r in verdict.notes],
            "observed_share": verdict.observed_share,
            "unobserved_px": [_rings(polygon) for polygon in outlines(~pair.observed)] if pair else [],
        },
        "findings": [_finding(i, f) for i, f in enumerate(assessment.findings, start=1)],
        "totals": {kind: _total([f for f in assessment.findings if f.kind == kind]) for kind in KINDS},
        "registration": asdict(registration) if registration else None,
        "images": pair and {"before": _image(pair.before), "after": _image(pair.after)},
        "views": assessment.views and [asdict(view) for view in assessment.views],
        "model": _model(verdict),
    }


def feature_collection(assessment: Assessment) -> dict[str, Any]:
    """RFC 7946: findings in WGS-84. Empty where the pair has no georeference."""
    features = []
    for i, finding in enumerate(assessment.findings, start=1):
        if finding.lonlat is None:
            continue
        geometry = mapping(finding.lonlat.normalize().reverse())  # exterior counter-clockwise
        geometry["coordinates"] = [[[round(x, 7), round(y, 7)] for x, y in ring] for ring in geometry["coordinates"]]
        properties = {k: v for k, v in _finding(i, finding).items() if k not in ("polygon_px", "centroid_lonlat")}
        after = assessment.pair.after.captured_at if assessment.pair else None
        properties |= {
            "status": "suspected",
            "captured_at": after.isoformat() if after else None,
            "model_sha256": assessment.verdict.model_sha256,
        }
        features.append({"type": "Feature", "id": i, "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def _reason(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code, "values": reason.values}


def _finding(number: int, finding: Finding) -> dict[str, Any]:
    centre = finding.lonlat.representative_point() if finding.lonlat else None
    return {
        "id": number,
        "kind": finding.kind,
        "probability": round(finding.probability, 4),
        "area_px": round(finding.area_px, 1),
        "area_m2": _rounded(finding.area_m2),
        "area_error_m2": _rounded(finding.area_error_m2),
        "polygon_px": _rings(finding.polygon),
        "centroid_lonlat": [round(centre.x, 7), round(centre.y, 7)] if centre else None,
    }


def _rings(polygon: Polygon) -> list[list[list[float]]]:
    rings = (polygon.exterior, *polygon.interiors)
    return [[[round(x, 1), round(y, 1)] for x, y in ring.coords] for ring in rings]


def _total(findings: list[Finding]) -> dict[str, Any]:
    areas = [f.area_m2 for f in findings]
    known = [a for a in areas if a is not None]
    return {
        "count": len(findings),
        "area_px": round(sum(f.area_px for f in findings), 1),
        "area_m2": _rounded(sum(known)) if len(known) == len(areas) and areas else (None if areas else 0.0),
    }


def _image(raster: Raster) -> dict[str, Any]:
    return {
        "name": raster.name,
        "width": raster.width,
        "height": raster.height,
        "gsd": None if raster.gsd is None else round(raster.gsd, 4),
        "crs": raster.crs.to_string() if raster.crs else None,
        "captured_at": raster.captured_at.isoformat() if raster.captured_at else None,
        "place": None if raster.place is None else list(raster.place),
    }


def _model(verdict: Verdict) -> dict[str, Any] | None:
    if verdict.model_name is None:
        return None
    return {"name": verdict.model_name, "version": verdict.model_version, "sha256": verdict.model_sha256}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)

"""The public Python API.

>>> import labelloop
>>> project = labelloop.open("~/parts")         # doctest: +SKIP
>>> project.images(status="pool").head()        # doctest: +SKIP
>>> project.round(budget=50)                    # doctest: +SKIP

Tables are pandas frames, everything else plain values as `labelloop ... --json` prints them. Errors
are `labelloop.LabelloopError` and its children (see `curation/errors.py`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation import workspace as _workspaces
from curation.errors import LabelloopError
from curation.progress import Report, silent
from curation.workspace import Project as _Project
from ui import agreement as _agreement
from ui import asking as _asking
from ui import auditing as _auditing
from ui import augmenting as _augmenting
from ui import balancing as _balancing
from ui import bulk as _bulk
from ui import classes as _classes
from ui import explaining as _explaining
from ui import exporting as _exporting
from ui import findings as _findings
from ui import frames as _frames
from ui import guiding as _guiding
from ui import helping as _helping
from ui import judging as _judging
from ui import machines as _machines
from ui import models as _models
from ui import people as _people
from ui import splitting as _splitting
from ui import training as _training
from ui import tuning as _tuning
from ui import versioning as _versioning
from ui import wiring as _wiring

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LabelloopError", "Project", "create", "open"]


def open(workspace: str | Path, *, project: str = "") -> "Project":
    """The current (or the named) project of a workspace folder.

    Raises:
        LabelloopError: the folder is no workspace, or has no such project.
    """
    found = _workspaces.open(Path(workspace).expanduser())
    return Project(_workspaces.project(found, project))


def create(
    workspace: str | Path,
    *,
    classes: Sequence[str],
    name: str = "default",
    task: str = "single-label",
    target: str = "",
    seconds_per_label: float = 4.0,
    guidelines: str | Path | None = None,
    none_of_these: str = "",
) -> "Project":
    """A new project, in a workspace that is made if the folder is none yet.

    Args:
        workspace: the folder.
        classes: two or more names.
        name: the project's, unique in the workspace.
        task: `single-label`, `multi-label` or `boxes`.
        target: the goal, as in `balanced-accuracy=0.92`.
        seconds_per_label: what one label costs.
        guidelines: a Markdown file that annotators are shown.
        none_of_these: name of a class that stands for none of the others; empty for no such class.
    """
    made = _wiring.create_project(
        Path(workspace),
        name=name,
        classes=",".join(classes),
        task=task,
        target=target,
        seconds_per_label=seconds_per_label,
        guidelines=Path(guidelines) if guidelines else None,
        none_of_these=none_of_these,
    )
    return Project(made)


class Project:
    """One project: its images, rounds, models and snapshots, and what can be done with them."""

    def __init__(self, project: _Project) -> None:
        self._project = project

    def __repr__(self) -> str:
        """Name and workspace."""
        return f"<labelloop project {self.name!r} in {self._project.workspace.path}>"

    @property
    def name(self) -> str:
        """The project's name."""
        return self._project.record.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in their order."""
        return self._project.record.classes

    def class_table(self) -> "pd.DataFrame":
        """One row per class in their order: class, kind, labels, former_names."""
        import pandas as pd

        return pd.DataFrame(_classes.show(self._project)["classes"])

    def add_classes(self, names: Sequence[str], *, none: bool = False) -> dict[str, Any]:
        """Adds classes behind those there are; `none` for one that means none of the others."""
        return self._changed(_classes.add(self._project, names, none=none))

    def rename_class(self, old: str, new: str) -> dict[str, Any]:
        """Gives a class another name; labels, answers and models stay."""
        return self._changed(_classes.rename(self._project, old, new))

    def merge_classes(self, names: Sequence[str], *, into: str) -> dict[str, Any]:
        """Makes several classes one; it cannot be undone."""
        return self._changed(_classes.merge(self._project, names, into=into))

    def move_class(self, name: str, place: int) -> dict[str, Any]:
        """Puts a class at another place of the order, counted from 1."""
        return self._changed(_classes.move(self._project, name, place))

    def _changed(self, result: dict[str, Any]) -> dict[str, Any]:
        self._project = _workspaces.project(self._project.workspace, self.name)
        return result

    def status(self) -> dict[str, Any]:
        """Where the project stands: counts, classes, rounds, the next step."""
        return _wiring.status(self._project)

    def add_images(
        self,
        source: str | Path,
        *,
        format: str = "auto",
        labels: str | Path | None = None,
        labels_from: str = "auto",
        copy: bool = False,
        strict: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Imports a folder, or a dataset in a usual format; images there already are passed over.

        Args:
            source: a folder, or the file that lists the dataset.
            format: auto, folder, csv, coco, yolo, voc or label-studio.
            labels: the file with the labels, where it does not lie in the folder.
            labels_from: `none` imports the images alone.
            copy: keep copies in the workspace.
            strict: stop at the first thing that cannot be used.
            report: told of the progress.

        Returns:
            As `labelloop import --json`.
        """
        return _wiring.import_images_from(
            self._project,
            str(source),
            format=format,
            table=str(labels) if labels else None,
            labels_from=labels_from,
            copy=copy,
            strict=strict,
            report=report,
        )

    def embed(self, *, backbone: str = "", report: Report = silent) -> dict[str, Any]:
        """Embeds the images that have no embedding yet."""
        return _wiring.embed(self._project, backbone=backbone, report=report)

    def round(
        self,
        *,
        strategy: str = "auto",
        budget: int = 50,
        reserve: int = 150,
        unaided_share: float = 0.1,
        answers: int = 1,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Pulls answers, trains, judges, chooses and sends the next images to Label Studio."""
        return _wiring.run_round(
            self._project,
            strategy=strategy,
            budget=budget,
            reserve=reserve,
            unaided_share=unaided_share,
            answers=answers,
            report=report,
        )

    def send(
        self,
        images: Sequence[str] = (),
        *,
        count: int = 50,
        answers: int = 1,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Sends images of a project of boxes to people: by name, or so many at random."""
        return _wiring.send(self._project, images, count=count, answers=answers, report=report)

    def pull(self) -> dict[str, Any]:
        """Brings in what people have answered since the last time."""
        return _wiring.pull(self._project)

    def prelabels(self) -> dict[str, Any]:
        """What pre-labels save people, how often they are accepted, and how far they sway them."""
        return _helping.measure(self._project)

    def label_in_bulk(
        self,
        class_name: str,
        images: Sequence[str] = (),
        *,
        leave_out: Sequence[str] = (),
        count: int = 48,
        person: str = "",
        dry_run: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Labels many images with a class at once, as answers of one person.

        Args:
            class_name: the class.
            images: names; those that the model takes for it and that look alike if empty.
            leave_out: names among them that are something else.
            count: how many to take, if they are not named.
            person: an annotator's name; the owner of our token if empty.
            dry_run: only say which.
            report: told of the progress.
        """
        return _bulk.accept(
            self._project,
            class_name,
            images,
            leave_out=leave_out,
            count=count,
            person=person,
            dry_run=dry_run,
            report=report,
        )

    def live(self, state: str = "", *, rounds: bool = False) -> dict[str, Any]:
        """Has the champion pre-label tasks without one when they are opened: `on` or `off`.

        Args:
            state: only says how it is if empty.
            rounds: a training that is asked for in Label Studio starts a round.
        """
        if not state:
            return _helping.show_live(self._project)
        return _helping.set_live(self._project, state, rounds=rounds)

    def undo_bulk(self) -> dict[str, Any]:
        """Takes the newest of `label_in_bulk` back."""
        return _bulk.undo(self._project)

    def guidelines(self) -> str:
        """What annotators are told, as Markdown whose pictures are seen from the workspace."""
        return str(_guiding.show_guidelines(self._project)["guidelines"])

    def set_guidelines(self, file: str | Path) -> dict[str, Any]:
        """Tells annotators what this Markdown file says, with its pictures."""
        return self._changed(_guiding.set_guidelines(self._project, Path(file)))

    def annotators(self) -> dict[str, Any]:
        """What each annotator did, how fast, and how often the others agree."""
        return _people.list_people(self._project)

    def annotator(self, name: str) -> dict[str, Any]:
        """The same of one, and how they find each class."""
        return _people.show_person(self._project, name)

    def disable_annotator(self, name: str, *, set_aside: bool = False) -> dict[str, Any]:
        """Takes an annotator's access away, and perhaps their answers out of the count."""
        return _asking.disable(self._project, name, set_aside=set_aside)

    def enable_annotator(self, name: str) -> dict[str, Any]:
        """Takes an annotator back; answers that were set aside count again."""
        return _asking.enable(self._project, name)

    def add_golds(
        self,
        images: Sequence[str] = (),
        *,
        answer: str = "",
        table: str | Path | None = None,
        from_agreed: int = 0,
        people: int = 3,
    ) -> dict[str, Any]:
        """Makes images gold questions, whose known answer becomes their label.

        Args:
            images: names, with one answer for all of them.
            answer: the class that they show; several are divided by `|`.
            table: or a CSV of images and their classes.
            from_agreed: or up to so many images that several people answered alike.
            people: how many people that takes.

        Returns:
            As `labelloop golds add --json`.
        """
        return _asking.add_golds(
            self._project,
            images,
            answer=answer,
            table=None if table is None else Path(table),
            from_agreed=from_agreed,
            people=people,
        )

    def remove_golds(self, images: Sequence[str]) -> dict[str, Any]:
        """Makes gold questions ordinary images again."""
        return _asking.remove_golds(self._project, images)

    def golds(self) -> dict[str, Any]:
        """How many gold questions there are, and how each annotator does in them."""
        return _asking.gold_status(self._project)

    def ask_again(
        self,
        images: Sequence[str] = (),
        *,
        unsure: bool = False,
        disputed: bool = False,
        count: int | None = None,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Has one person more look at images, who sees no pre-label and nobody's answer.

        Args:
            images: names.
            unsure: or all that somebody is unsure of, and nobody sure.
            disputed: or all that people disagree on, the worst first.
            count: how many of them at most.
            report: told of the progress.

        Returns:
            As `labelloop label ask-again --json`.
        """
        return _asking.ask_again(
            self._project, images, unsure=unsure, disputed=disputed, count=count, report=report
        )

    def label_settings(
        self,
        *,
        confident: float | None = None,
        most: int | None = None,
        gold_rate: float | None = None,
        gold_limit: float | None = None,
        pause: bool | None = None,
    ) -> dict[str, Any]:
        """How many people are asked about an image and how they are judged; changes what is given.

        Args:
            confident: ask one person more where people disagree, until a label is so sure.
            most: how many people look at an image at most.
            gold_rate: gold questions, as a share of a batch.
            gold_limit: share of right answers to them, below which people are paused.
            pause: whether labelloop pauses people by itself; otherwise it warns.

        Returns:
            As `labelloop label settings --json`.
        """
        return _asking.change_settings(
            self._project,
            confident=confident,
            most=most,
            gold_rate=gold_rate,
            gold_limit=gold_limit,
            pause=pause,
        )

    def agreement(self) -> dict[str, Any]:
        """How far people agree beyond chance: Krippendorff, Fleiss, Cohen, with intervals."""
        return _agreement.agree(self._project)

    def consensus(
        self, method: str = "", *, dry_run: bool = False, report: Report = silent
    ) -> dict[str, Any]:
        """Chooses how several answers become one label, and settles every image anew by it.

        Args:
            method: majority, dawid-skene or crowdlab; the one in force if empty.
            dry_run: only say how many labels would change.
            report: told of the progress.

        Returns:
            As `labelloop label consensus --json`.
        """
        return _agreement.choose_consensus(self._project, method, dry_run=dry_run, report=report)

    def import_answers(
        self, table: str | Path, *, strict: bool = False, report: Report = silent
    ) -> dict[str, Any]:
        """Brings in answers that were collected elsewhere, one row of a CSV each.

        Args:
            table: columns image, worker, answer and perhaps time, in usual spellings.
            strict: refuse the file if a row cannot be used.
            report: told of the progress.

        Returns:
            As `labelloop label import --json`.
        """
        return _agreement.import_answers(self._project, Path(table), strict=strict, report=report)

    def images(self, *, status: str = "any", label: str = "") -> "pd.DataFrame":
        """One row per image: name, state, label, prediction, confidence, reserve, metadata.

        Args:
            status: any, labeled, pool, reserve, quarantined or excluded.
            label: only images of this class.
        """
        import pandas as pd

        return pd.DataFrame(_frames.image_table(self._project, status=status, label=label))

    def find_issues(
        self, kinds: Sequence[str] = (), *, everything: bool = False, report: Report = silent
    ) -> "pd.DataFrame":
        """Looks for copies, bad images, outliers, wrong labels and leaks.

        Args:
            kinds: as `labelloop issues --kind` takes them; all if empty.
            everything: also a row for every innocent image.
            report: told of the progress.

        Returns:
            Columns image, kind, score (0 to 1, higher is worse), is_issue, reason, related and
            suggested_label; the worst of each kind first.
        """
        found = _findings.find_issues(self._project, kinds, everything=everything, report=report)
        return _frames.issue_frame(found["issues"])

    def issues(self, kinds: Sequence[str] = ()) -> "pd.DataFrame":
        """What `find_issues` found last time, in the same columns."""
        return _frames.issue_frame(_findings.list_issues(self._project, kinds)["issues"])

    def quarantine(self) -> "pd.DataFrame":
        """Images that could not be read, with the reason."""
        import pandas as pd

        return pd.DataFrame(_frames.quarantine(self._project), columns=["image", "reason"])

    def exclude(
        self,
        images: Sequence[str] = (),
        *,
        kinds: Sequence[str] = (),
        reason: str = "",
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Takes images, or all with an issue of these kinds, out of the dataset: one act."""
        return _findings.exclude(
            self._project, kinds=kinds, images=images, reason=reason, dry_run=dry_run
        )

    def restore(self, images: Sequence[str] = (), *, act: int | None = None) -> dict[str, Any]:
        """Undoes the newest act, or the named one, or brings the named images back."""
        return _findings.restore(self._project, act=act, images=images)

    def propagate(self, images: Sequence[str] = (), *, dry_run: bool = False) -> dict[str, Any]:
        """Gives copies of labeled images the same label, marked as such; `restore` undoes it."""
        return _findings.propagate(self._project, images=images, dry_run=dry_run)

    def zero_shot(
        self,
        prompts: Mapping[str, Sequence[str]] | None = None,
        *,
        above: float = 0.9,
        accept: bool = False,
        audit: int = 50,
        risk: float | None = None,
        model: str = "",
        weights: str = "",
        report: Report = silent,
    ) -> dict[str, Any]:
        """Says what labels classes described in words would give, and with `accept` gives them.

        Args:
            prompts: texts by class, kept in the project; `{class}` stands for the class's name.
            above: the least probability that is accepted.
            accept: give the labels, as one act that `restore` undoes.
            audit: so many of the accepted images go to people.
            risk: share of wrong labels that is tolerated.
            model: architecture, as open_clip names it.
            weights: a tag of open_clip, or a local safetensors file.
            report: told of the progress.
        """
        return _machines.zero_shot(
            self._project,
            prompts=prompts,
            above=above,
            accept=accept,
            audit=audit,
            risk=risk,
            model=model,
            weights=weights,
            report=report,
        )

    def accept(
        self,
        source: str,
        *,
        above: float = 0.9,
        audit: int = 50,
        risk: float | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Makes labels of what the newest model (`predictions`) or the `rules` say of the pool."""
        return _machines.accept(
            self._project, source, above=above, audit=audit, risk=risk, dry_run=dry_run
        )

    def accepted(self) -> dict[str, Any]:
        """What machines labeled, and what people say of the audit samples."""
        return _machines.audits(self._project)

    def check_rules(
        self,
        file: str | Path | None = None,
        *,
        functions: Sequence[Any] = (),
        report: Report = silent,
    ) -> dict[str, Any]:
        """Says how good rules are.

        Args:
            file: of rules, in TOML.
            functions: rules in Python: each takes the fields of an image as a mapping and returns
                the name of a class, or None to abstain. Its attribute `fields` may name them.
            report: told of the progress.
        """
        path = None if file is None else Path(file)
        return _machines.check_rules(self._project, path, functions=functions, report=report)

    def apply_rules(
        self,
        file: str | Path | None = None,
        *,
        functions: Sequence[Any] = (),
        weight: float | None = None,
        in_rounds: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Puts rules in force, for `train(rules=True)` and, with `in_rounds`, for rounds."""
        return _machines.apply_rules(
            self._project,
            None if file is None else Path(file),
            functions=functions,
            weight=weight,
            in_rounds=in_rounds,
            report=report,
        )

    def explain_rules(self, image: str) -> dict[str, Any]:
        """Which rules voted for an image, and what they make of it together."""
        return _machines.show_rules(self._project, image)

    def clear_rules(self) -> dict[str, Any]:
        """Takes the rules out of force."""
        return _machines.clear_rules(self._project)

    def calibrate_duplicates(
        self, *, precision: float = 0.99, report: Report = silent
    ) -> dict[str, Any]:
        """Measures on planted copies how well copies are found, and sets the threshold."""
        return _findings.calibrate_duplicates(self._project, precision=precision, report=report)

    def split(
        self,
        *,
        shares: Mapping[str, float] | None = None,
        folds: int | None = None,
        by: Sequence[str] | None = None,
        stratify: str | None = None,
        name: str = "default",
        from_imported: bool = False,
        with_reserve: bool = False,
        dry_run: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Makes a split that does not leak, or lets new images join the one of this name.

        Args:
            shares: of train, validation and test; 0.7, 0.15 and 0.15 where left open.
            folds: so many folds instead.
            by: metadata columns whose values stay together.
            stratify: `label`, `none` or a metadata column.
            name: of the split; rounds follow `default`.
            from_imported: adopt the split that the images came with.
            with_reserve: put the rounds' reserve into the folds, too.
            dry_run: only say what would be done.
            report: told of the progress.
        """
        return _splitting.split(
            self._project,
            shares=shares,
            folds=folds,
            by=by,
            stratify=stratify,
            name=name,
            from_imported=from_imported,
            with_reserve=with_reserve,
            dry_run=dry_run,
            report=report,
        )

    def check_split(
        self, name: str = "default", *, by: Sequence[str] | None = None, report: Report = silent
    ) -> dict[str, Any]:
        """What is in the parts of a split, or of the imported one, and what leaks between them."""
        return _splitting.check(self._project, name=name, by=by, report=report)

    def parts(self, name: str = "default") -> "pd.DataFrame":
        """One row per image of a split: image, part."""
        import pandas as pd

        return pd.DataFrame(_splitting.parts(self._project, name), columns=["image", "part"])

    def balance(self, *, by: str = "") -> dict[str, Any]:
        """How labels are spread over classes (and the slices of a column), and what is missing."""
        return _balancing.describe(self._project, by=by)

    def plan_balance(
        self, remedy: str, *, apply: bool = False, report: Report = silent, **options: Any
    ) -> dict[str, Any]:
        """A remedy for imbalance, shown or put in force.

        Args:
            remedy: class-weights, oversampling, undersampling, augmentation or labeling-quota.
            apply: put it in force; `clear_balance` takes it back.
            report: told of the progress.
            options: as `curation.balance.Options` has them, such as `target=50`.
        """
        return _balancing.plan_remedy(
            self._project, remedy, _balancing.options(options), apply=apply, report=report
        )

    def clear_balance(self, *, kind: str = "") -> dict[str, Any]:
        """Takes back the plan of a kind (`balance`, `labeling-quota`), or all in force."""
        return _balancing.clear(self._project, kind=kind)

    def train(
        self,
        *,
        kind: str = "auto",
        settings: Mapping[str, Any] | None = None,
        minutes: float | None = None,
        seed: int | None = None,
        processes: int = 1,
        rules: bool = False,
        fresh: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Trains a model on the labels, judges it, and says what is wrong with it.

        Args:
            kind: head, mlp or fine-tune; auto takes what suits the labels and the machine.
            settings: those not to be chosen automatically, in kebab-case.
            minutes: that fine-tuning may take.
            seed: of all randomness; the project's if None.
            processes: on this machine that fine-tune together.
            rules: learn from what the rules in force say as well.
            fresh: do not go on with the same training that was interrupted.
            report: told of the progress.
        """
        found = _training.train(
            self._project,
            kind=kind,
            settings=settings,
            minutes=minutes,
            seed=seed,
            processes=processes,
            rules=rules,
            fresh=fresh,
            report=report,
        )
        _training.answered(self._project, found["run"])
        return found

    def tune(
        self,
        *,
        kind: str = "",
        sampler: str = "",
        metric: str = "",
        trials: int | None = None,
        minutes: float | None = None,
        workers: int = 1,
        study: str = "",
        backbones: Sequence[str] = (),
        seed: int | None = None,
        storage: str = "",
        open_test: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Searches for the settings that do best on validation, or goes on with a search.

        Args:
            kind: head, mlp, fine-tune, or auto (the default) for what suits the labels.
            sampler: tpe (the default), random or grid.
            metric: balanced-accuracy (the default), accuracy, macro-f1 or log-loss.
            trials: so many more; 20 if no minutes are given, 0 to only look.
            minutes: for the whole call.
            workers: processes that try at the same time.
            study: the name to begin or to go on with; the kind's by default.
            backbones: timm models that fine-tuning may start from.
            seed: of all randomness; the project's if None.
            storage: address of a database for trials; a file of the workspace by default.
            open_test: judge the best on the test part as well, which is recorded.
            report: told of the progress.
        """
        return _tuning.tune(
            self._project,
            kind=kind,
            sampler=sampler,
            metric=metric,
            trials=trials,
            minutes=minutes,
            workers=workers,
            study=study,
            backbones=backbones,
            seed=seed,
            storage=storage,
            open_test=open_test,
            report=report,
        )

    def audit(
        self, by: Sequence[str] = (), *, discover: bool = False, report: Report = silent
    ) -> dict[str, Any]:
        """Tests whom the dataset and its model fail: findings, the most serious first.

        Args:
            by: one metadata column, or two that are also crossed.
            discover: also look for places in embedding space that no column names.
            report: told of the progress.
        """
        return _auditing.audit(self._project, by, discover=discover, report=report)

    def plan_against_bias(
        self,
        by: Sequence[str],
        remedy: str,
        *,
        budget: int = 50,
        apply: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """A remedy for bias, shown, or (a quota) put in force until `clear_balance`.

        Args:
            by: one metadata column, or two that are crossed.
            remedy: reweigh, group-balanced or quota.
            budget: of the quota: images of the next batch.
            apply: put the quota in force.
            report: told of the progress.
        """
        return _auditing.plan(self._project, by, remedy, budget=budget, apply=apply, report=report)

    def recipes(self) -> list[dict[str, Any]]:
        """The augmentation recipes: name, version, description and steps of each."""
        found: list[dict[str, Any]] = _augmenting.list_recipes(self._project)["recipes"]
        return found

    def augment_preview(
        self,
        recipe: str,
        out: str | Path,
        *,
        images: int = 6,
        seed: int | None = None,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Draws images as they are and as the recipe changes them, as a PNG."""
        return _augmenting.preview(
            self._project, recipe, Path(out), images=images, seed=seed, report=report
        )

    def augment_check(
        self, recipe: str, *, images: int = 0, seed: int | None = None, report: Report = silent
    ) -> dict[str, Any]:
        """Measures how far a recipe moves images, and which of its steps break labels."""
        return _augmenting.check(self._project, recipe, images=images, seed=seed, report=report)

    def augment(
        self,
        recipe: str,
        out: str | Path,
        *,
        per_image: int = 1,
        quotas: bool = False,
        format: str = "png",
        seed: int | None = None,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Writes augmented copies of labeled images to a new folder, with a table.

        Args:
            recipe: its name, or the path of a `.toml` file.
            out: a new or empty folder, or one that an interrupted call has left.
            per_image: copies of each image.
            quotas: only as many of each class as the balance plan in force wants.
            format: `png`, or `jpeg` of quality 95.
            seed: of the changes; the project's if none.
            report: told of the progress.
        """
        return _augmenting.write(
            self._project,
            recipe,
            Path(out),
            per_image=per_image,
            quotas=quotas,
            format=format,
            seed=seed,
            report=report,
        )

    def similar(
        self, image: str | Path | bytes, *, count: int = 10, report: Report = silent
    ) -> "pd.DataFrame":
        """The images most like one of the project, a file, or a picture's bytes."""
        import pandas as pd

        from curation.similar import similar

        wanted = str(image) if isinstance(image, Path) else image
        found = similar(self._project, wanted, count=count, report=report)
        return pd.DataFrame(found["neighbours"], columns=["image", "similarity"])

    def map(self, *, refit: bool = False, report: Report = silent) -> "pd.DataFrame":
        """One row per image: its place (x, y) on the map of the dataset."""
        return _frames.map_frame(self._project, refit=refit, report=report)

    def rounds(self) -> "pd.DataFrame":
        """One row per round: number, strategy, labels, and each figure with its interval."""
        import pandas as pd

        return pd.DataFrame(_frames.round_table(self._project))

    def robustness(
        self, run: str = "champion", *, most: int = 1_000, report: Report = silent
    ) -> dict[str, Any]:
        """What a run's model loses when its test images are blurred, dimmed, tilted, compressed."""
        return _judging.robustness(self._project, run, most=most, report=report)

    def cross_validate(
        self,
        *,
        kind: str = "auto",
        settings: Mapping[str, Any] | None = None,
        folds: int = 5,
        split: str = "",
        minutes: float | None = None,
        report: Report = silent,
    ) -> dict[str, Any]:
        """The labels judged by models that saw neither them nor a copy of them."""
        return _judging.cross_validate(
            self._project,
            kind=kind,
            settings=settings,
            folds=folds,
            split=split,
            minutes=minutes,
            report=report,
        )

    def forecast(
        self,
        *,
        more: int = 100,
        target: float | None = None,
        metric: str = "accuracy",
        out: str | Path | None = None,
        report: Report = silent,
    ) -> dict[str, Any]:
        """What more labels would bring, and how many a target takes.

        Args:
            more: labels.
            target: score, above 0 to 1; the project's goal if it is of this metric.
            metric: accuracy or balanced-accuracy.
            out: draw the curve into this PNG file.
            report: told of the progress.
        """
        to = Path(out).expanduser() if out else None
        return _judging.forecast(
            self._project, more=more, target=target, metric=metric, out=to, report=report
        )

    def models(self) -> "pd.DataFrame":
        """One row per trained model, with the snapshot it saw."""
        import pandas as pd

        return pd.DataFrame(_frames.model_table(self._project))

    def model(self, run: str = "champion") -> dict[str, Any]:
        """One model with all that is known about it, and whether its files are intact.

        Args:
            run: its id, with or without the project's part, a tag, `champion` or `newest`.
        """
        return _models.show(self._project, run)

    def compare_models(
        self, first: str, second: str, *, metric: str = "accuracy", report: Report = silent
    ) -> dict[str, Any]:
        """Whether the second is better, on labeled images that neither has learned from."""
        return _models.compare(self._project, first, second, metric=metric, report=report)

    def tag_model(self, run: str, word: str, *, remove: bool = False) -> dict[str, Any]:
        """Gives a model a tag by which it can be named, or takes it away."""
        return _models.tag(self._project, run, word, remove=remove)

    def promote(self, run: str) -> dict[str, Any]:
        """Makes a model the project's only champion."""
        return _models.promote(self._project, run)

    def delete_model(self, run: str, *, yes: bool = False) -> dict[str, Any]:
        """Deletes a model's files; `yes` even if a round or predictions come from it."""
        return _models.delete(self._project, run, yes=yes)

    def model_card(
        self, run: str, to: str | Path, *, about: str | Path | None = None
    ) -> dict[str, Any]:
        """Writes a run's card to a .md or .html file, or both into a folder."""
        words = Path(about) if about else None
        return _models.card(self._project, run, Path(to).expanduser(), about=words)

    def export_model(
        self,
        run: str,
        to: str | Path,
        *,
        format: str = "onnx",
        report: Report = silent,
    ) -> dict[str, Any]:
        """Writes a model for use elsewhere: `onnx` or `safetensors`."""
        return _models.export(self._project, run, Path(to), format=format, report=report)

    def reproduce(self, run: str, *, report: Report = silent) -> dict[str, Any]:
        """Trains a model again from its stored rows and settings; says whether it is the same."""
        return _models.reproduce(self._project, run, report=report)

    def import_model(self, file: str | Path, *, report: Report = silent) -> dict[str, Any]:
        """Takes in a safetensors file of `export_model` from elsewhere."""
        return _models.bring(self._project, Path(file), report=report)

    def explain(
        self,
        image: str | Path,
        *,
        run: str = "",
        of: str = "",
        out: str | Path | None = None,
        neighbours: int = 5,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Why a model says what it says of an image: where it looks, which examples it goes by.

        Args:
            image: by its name as imported, or the path of any picture.
            run: the champion if empty, else the newest run.
            of: the class to explain; the likeliest one if empty.
            out: a .png to write the heat to.
            neighbours: training images to name.
            report: told of the progress.
        """
        return _explaining.explain(
            self._project,
            str(image),
            run=run,
            of=of,
            out=Path(out).expanduser() if out else None,
            neighbours=neighbours,
            report=report,
        )

    def mistakes(
        self,
        *,
        run: str = "",
        of: str = "",
        part: str = "validation",
        count: int = 12,
        out: str | Path | None = None,
        report: Report = silent,
    ) -> dict[str, Any]:
        """What a model is surest of and wrong about, the worst of each class.

        Args:
            run: the champion if empty, else the newest run.
            of: only this class.
            part: `validation`, or `test`, which then steers what is mended.
            count: of each class, at most.
            out: a .html to write the gallery to.
            report: told of the progress.
        """
        return _explaining.mistakes(
            self._project,
            run=run,
            of=of,
            part=part,
            count=count,
            out=Path(out).expanduser() if out else None,
            report=report,
        )

    def predict(
        self,
        source: str | Path,
        out: str | Path,
        *,
        run: str = "",
        top: int = 0,
        probabilities: bool = False,
        exact: bool = False,
        retry_rejected: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Writes what a model says of each image; an interrupted call is gone on with.

        Args:
            source: a folder, an image, or a CSV with a column of paths.
            out: ends in .csv, .jsonl or .parquet.
            run: the champion if empty, else the newest run.
            top: also the so many likeliest classes.
            probabilities: also those of all classes.
            exact: in fp32 torch, whatever is faster.
            retry_rejected: looks again at images that an earlier call could not read.
            report: told of the progress.
        """
        return _models.predict(
            self._project,
            Path(source),
            Path(out),
            run=run,
            top=top,
            probabilities=probabilities,
            exact=exact,
            retry_rejected=retry_rejected,
            report=report,
        )

    def snapshots(self) -> "pd.DataFrame":
        """One row per snapshot of the labels."""
        import pandas as pd

        return pd.DataFrame(_frames.snapshot_table(self._project))

    def snapshot(
        self,
        *,
        labeled: bool = False,
        classes: Sequence[str] = (),
        where: Sequence[str] = (),
        report: Report = silent,
    ) -> str:
        """Freezes the dataset as it is now and returns the snapshot's id.

        Args:
            labeled: only labeled images.
            classes: only images that bear one of these.
            where: only images with this metadata, as in `["studio=a"]`.
            report: told of the progress.
        """
        made = _versioning.create(
            self._project, labeled=labeled, classes=classes, where=where, report=report
        )
        return str(made["snapshot"])

    def diff_snapshots(self, old: str = "", new: str = "") -> dict[str, Any]:
        """What differs between two snapshots; between the newest and its parent by default."""
        return _versioning.diff(self._project, old, new)

    def verify_snapshot(
        self, snapshot: str = "", *, images: bool = True, report: Report = silent
    ) -> dict[str, Any]:
        """Hashes a snapshot (the newest by default) and its images again."""
        return _versioning.verify(self._project, snapshot, images=images, report=report)

    def restore_snapshot(self, snapshot: str = "", *, report: Report = silent) -> dict[str, Any]:
        """Makes labels and exclusions what they were in a snapshot, the newest by default."""
        return _versioning.restore(self._project, snapshot, report=report)

    def card(
        self,
        folder: str | Path,
        *,
        snapshot: str = "",
        about: str | Path | None = None,
        with_map: bool = True,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Writes a data card into a folder: README.md, card.html and pictures."""
        return _versioning.card(
            self._project,
            Path(folder).expanduser(),
            snapshot=snapshot,
            about=Path(about) if about else None,
            with_map=with_map,
            report=report,
        )

    def export(
        self,
        to: str | Path,
        *,
        format: str,
        snapshot: str = "",
        images: str = "",
        keep_metadata: bool = False,
        unlabeled: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Writes images and labels for another tool, into a new folder.

        Args:
            to: the folder; one in which the same export was interrupted is finished.
            format: as `labelloop export --format` takes it.
            snapshot: which version; the dataset as it is now if left out.
            images: copy, link or none; the format's default if left out.
            keep_metadata: copies keep EXIF, GPS positions and comments.
            unlabeled: also images that nobody has labeled.
            report: told of the progress.
        """
        return _exporting.export(
            self._project,
            Path(to).expanduser(),
            format=format,
            snapshot=snapshot,
            images=images,
            keep_metadata=keep_metadata,
            unlabeled=unlabeled,
            report=report,
        )

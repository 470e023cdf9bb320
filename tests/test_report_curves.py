"""The curves of a report are those of the log."""

import io

from pspnet_plugin.reporting.report_figures import draw_curves
from pspnet_plugin.reporting.run_folders import open_run


def test_curves_are_those_of_the_log(trained):
    run = open_run(trained)
    loss, rate, score = draw_curves(['run'], [run]).axes
    for axes, key in ((loss, 'loss'), (rate, 'lr'), (score, 'mIoU')):
        (line,) = axes.lines
        assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == run.scalars(key), key
    assert loss.lines[0].get_xdata().tolist() == [1, 2]


def test_names_are_no_formulas(trained):
    run = open_run(trained)
    figure = draw_curves(['_$a$b$', 'plain'], [run, run])
    figure.savefig(io.BytesIO(), format='png')
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert legends and all(len(legend.get_texts()) == 2 for legend in legends)
